"""One Postgres data folder of ours: made, started, stopped and removed with Postgres's programs.

Nothing here locks: whoever calls holds the lock of what the cluster belongs to.
"""

import hashlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

from pymilk.database.programs import Programs
from pymilk.database.running_as import Account
from pymilk.problem import Problem, TryAgainLater

SUPERUSER = "supabase_admin"

# One setting of postgresql.conf: name and value.
Setting = tuple[str, str]

_PORT = 5432  # only part of the socket's name: no TCP port is opened
_START_SECONDS = 120
_STOP_SECONDS = 60
_END_SECONDS = 10
_INITDB_SECONDS = 120
_ORPHAN_SECONDS = 15
_LOG_BYTES = 4 * 1024 * 1024
_STATUS_LINE = 7  # of postmaster.pid, counted from 0; older lines name pid, folder, port, socket


@dataclass(frozen=True)
class Cluster:
    """A Postgres data folder.

    Attributes:
        place: A private folder of the account that holds the data folder and the server's log.
        programs: The Postgres that runs it.
        account: The user that it runs as.
    """

    place: Path
    programs: Programs
    account: Account

    @property
    def data(self) -> Path:
        """Postgres's data folder."""
        return self.place / "data"

    @property
    def log(self) -> Path:
        """What the server has to say."""
        return self.place / "server.log"

    @property
    def socket_directory(self) -> Path:
        """The folder of the server's socket: short, for a socket's path has at most 107 bytes.

        Always under /tmp, whatever TMPDIR says: a later command must find it again.
        """
        name = hashlib.sha256(os.fsencode(self.data)).hexdigest()[:16]
        return Path("/tmp") / f"pymilk-{name}"  # noqa: S108 - private and checked before use

    def url(self, database: str, user: str) -> str:
        """The libpq URL of a database on this server, through its socket."""
        # The port is named because a PGPORT in the environment would count otherwise.
        where = urlencode({"host": str(self.socket_directory), "port": _PORT}, safe="/")
        return f"postgresql://{quote(user, safe='')}@/{quote(database, safe='')}?{where}"

    def answers(self) -> bool:
        """Whether the server is up and takes connections; costs less than a millisecond."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except (FileNotFoundError, NotADirectoryError):
            return False
        if len(lines) <= _STATUS_LINE or lines[_STATUS_LINE].strip() != "ready":
            return False
        with socket.socket(socket.AF_UNIX) as probe:
            # A server that was killed leaves its pid file and its socket behind, but no answer.
            return probe.connect_ex(str(self.socket_directory / f".s.PGSQL.{_PORT}")) == 0

    def create(self, settings: Sequence[Setting]) -> None:
        """Make the data folder; the place must exist and be the account's.

        Args:
            settings: Written to postgresql.conf.

        Raises:
            Problem: initdb failed.
        """
        options = [part for name, value in settings for part in ("-c", f"{name}={value}")]
        if ("fsync", "off") in settings:
            options.append("--no-sync")
        made = self._run(
            "initdb",
            [
                "--pgdata=data",
                f"--username={SUPERUSER}",
                "--encoding=UTF8",
                "--no-locale",
                "--auth=trust",
                *options,
            ],
            seconds=_INITDB_SECONDS,
        )
        if made.returncode != 0:
            raise Problem(
                f"Postgres could not make its data folder: {_last_words(made.stderr)}",
                state=f"There is no database in {self.place}.",
                todo="Mend what it names (often a full disk) and run the same command again.",
            )

    def start(self) -> None:
        """Start the server and wait until it takes connections; it outlives this process.

        Raises:
            Problem: it did not start.
            TryAgainLater: it is still recovering.
        """
        self._make_socket_directory()
        self._forget_another_process()
        self._end_server_of_removed_data()
        self._turn_log_over()
        deadline = time.monotonic() + _ORPHAN_SECONDS
        while not self._start_once(may_retry=time.monotonic() < deadline):
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop the server, if it runs: open sessions are ended, what is committed stays.

        Raises:
            Problem: it did not stop.
        """
        if self._postmaster() is None:
            return
        stopped = self._run(
            "pg_ctl",
            ["stop", "--pgdata=data", "--mode=fast", f"--timeout={_STOP_SECONDS}", "--silent"],
            seconds=_STOP_SECONDS + 10,
        )
        if stopped.returncode != 0 and self._postmaster() is not None:
            raise Problem(
                f"Postgres did not stop within {_STOP_SECONDS} s: {self._log_tail()}",
                state="It is still running; its data are whole.",
                todo=f"Look for sessions that do not end, in {self.log}, and stop it again.",
            )

    def kill(self) -> None:
        """End the server at once, without care for its data: they are about to be removed."""
        postmaster = self._postmaster()
        if postmaster is not None:
            self._end(postmaster)

    def remove(self) -> None:
        """Remove the place and the socket's folder; the server must have ended."""
        shutil.rmtree(self.socket_directory, ignore_errors=True)
        if self.data.exists():
            # At once, so that an interruption leaves no half of a data folder.
            self.data.rename(self.place / "old")
        if self.place.exists():
            shutil.rmtree(self.place)

    def _run(
        self, program: str, arguments: Sequence[str], *, seconds: float
    ) -> subprocess.CompletedProcess[str]:
        # In the place, with relative names: pg_ctl puts its arguments through a shell.
        try:
            return self.account.run(
                [self.programs.path(program), *arguments], cwd=self.place, timeout=seconds
            )
        except subprocess.TimeoutExpired as error:
            raise TryAgainLater(
                f"Postgres's {program} did not end within {seconds:.0f} s.",
                state=f"It was ended; nothing in {self.place} was removed.",
                todo=f"Look whether the disk is slow or full, read {self.log}, and try again.",
            ) from error

    def _start_once(self, *, may_retry: bool) -> bool:
        started = self._run(
            "pg_ctl",
            [
                "start",
                "--pgdata=data",
                "--log=server.log",
                "--wait",
                f"--timeout={_START_SECONDS}",
                "--silent",
                f"--options=-k {self.socket_directory}",
            ],
            seconds=_START_SECONDS + 10,
        )
        if started.returncode == 0:
            return True
        tail = self._log_tail()
        if may_retry and "still in use" in tail:
            # The server was killed; the last of its children are about to notice and go.
            return False
        if self._postmaster() is not None:
            raise TryAgainLater(
                f"Postgres is still recovering after {_START_SECONDS} s: {tail}",
                state="Its data are being recovered; nothing is lost.",
                todo=f"Wait, watch {self.log}, and run the same command again.",
            )
        raise Problem(
            f"Postgres did not start: {tail or _last_words(started.stderr)}",
            state=f"It is not running; its data in {self.data} were not touched.",
            todo=f"Mend what it names, or read {self.log}; then run the same command again.",
        )

    def _postmaster(self) -> int | None:
        """The process id of our server, if it lives."""
        pid = _number_in(self.data / "postmaster.pid")
        return pid if pid is not None and self._is_ours(pid) else None

    def _is_ours(self, pid: int) -> bool:
        """Whether this process lives and is a server with our socket.

        A number in a file proves little: after a crash of the machine, or in a copied folder, it
        is another process's.
        """
        if not Path("/proc/self").exists():
            return _lives(pid)  # a system without /proc, where the file has to do
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return False
        # Of a process that has ended and waits to be noticed the command is empty.
        return os.fsencode(self.socket_directory) in command.split(b"\0")

    def _forget_another_process(self) -> None:
        """Remove a pid file that names none of our processes: Postgres might not start for it.

        Its shared memory still protects the data from the children of a killed server.
        """
        if self._postmaster() is None:
            (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _end_server_of_removed_data(self) -> None:
        """End a server that still holds our socket after its folder was removed by hand."""
        pid = _number_in(self.socket_directory / f".s.PGSQL.{_PORT}.lock")
        if pid is not None and pid != self._postmaster() and self._is_ours(pid):
            self._end(pid)

    def _end(self, pid: int) -> None:
        # SIGQUIT is Postgres's immediate shutdown: its own children end with it.
        for number in (signal.SIGQUIT, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
            deadline = time.monotonic() + _END_SECONDS
            while self._is_ours(pid) and time.monotonic() < deadline:
                time.sleep(0.005)

    def _make_socket_directory(self) -> None:
        folder = self.socket_directory
        try:
            self.account.make_private(folder)
        except FileExistsError:
            found = folder.lstat()
            private = stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) == stat.S_IRWXU
            if found.st_uid != self.account.uid or not private:
                raise Problem(
                    f"The folder for Postgres's socket, {folder}, is not a private one of ours.",
                    state="Postgres was not started.",
                    todo="Find out who made it, remove it, and run the same command again.",
                ) from None

    def _turn_log_over(self) -> None:
        if self.log.exists() and self.log.stat().st_size > _LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))

    def _log_tail(self) -> str:
        try:
            return _last_words(self.log.read_text(errors="replace"))
        except FileNotFoundError:
            return ""


def _number_in(file: Path) -> int | None:
    """The number on the first line of a file, if there are both."""
    try:
        return int(file.read_text().split("\n", 1)[0])
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False  # ended; or another user's, so not ours
    return True


def _last_words(text: str) -> str:
    """The end of what a program said, on one line: what is wrong, if it says so."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "FATAL" in line or "PANIC" in line or "error:" in line]
    return " / ".join((telling or lines)[-3:])
