"""One Postgres data folder of ours: made, started, stopped and removed with Postgres's programs.

Nothing here locks: whoever calls holds the lock of what the cluster belongs to.
"""

import hashlib
import os
import re
import shlex
import shutil
import stat
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

from psycopg import pq

from pymilk.database import postmaster
from pymilk.database.address import EMBEDDED_SOCKETS
from pymilk.database.extensions import offered_files
from pymilk.database.postmaster import Postmaster
from pymilk.database.programs import Programs
from pymilk.database.running_as import Account
from pymilk.problem import Problem, TryAgainLater

SUPERUSER = "supabase_admin"

# One setting of postgresql.conf: name and value.
Setting = tuple[str, str]

_PORT = 5432  # only part of the socket's name: no TCP port is opened
_ANSWER_SECONDS = 10
_START_SECONDS = 120
_STOP_SECONDS = 60
_INITDB_SECONDS = 120
_ORPHAN_SECONDS = 15
_LOG_BYTES = 4 * 1024 * 1024
_SOCKET = f".s.PGSQL.{_PORT}"
_FIRST_WITH_A_CONTROL_PATH = 18

# What a server says before the telling part of a line, and the lines that tell nothing.
_LOG_PREFIX = re.compile(r"^\d{4}-\d\d-\d\d .*?\] .*?(?=[A-Z]+: )")
_ROUTINE = re.compile("LOG: +(starting PostgreSQL|listening on|database system is shut down)")


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
    def removed(self) -> Path:
        """Where the data folder goes first when it is removed."""
        return self.place / "removed"

    @property
    def log(self) -> Path:
        """What the server has to say."""
        return self.place / "server.log"

    @property
    def extensions(self) -> Path:
        """Where the server finds extensions, real ones and stand-ins."""
        return self.place / "extensions"

    @property
    def socket_directory(self) -> Path:
        """The folder of the server's socket: short, for a socket's path has at most 107 bytes.

        Always under /tmp, whatever TMPDIR says: a later command must find it again.
        """
        server = self._server()
        return self._own_socket_directory if server is None else server.socket_directory

    def url(self, database: str, user: str) -> str:
        """The libpq URL of a database on this server, through its socket."""
        # The port is named because a PGPORT in the environment would count otherwise.
        where = urlencode({"host": str(self.socket_directory), "port": _PORT}, safe="/")
        return f"postgresql://{quote(user, safe='')}@/{quote(database, safe='')}?{where}"

    def answers(self) -> bool:
        """Whether the server is up and takes connections; costs a few milliseconds.

        Asked of the server itself: one that was killed just now is there for a moment longer.
        """
        if self._server() is None:
            return False
        question = f"{self.url('postgres', SUPERUSER)}&connect_timeout={_ANSWER_SECONDS}"
        return pq.PGconn.ping(question.encode()) == pq.Ping.OK

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
                # Letters of every script are letters, as in any hosted project.
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
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
        if self._comes_up():
            return
        self._make_socket_directory()
        self._clear_the_way()
        self._turn_log_over()
        self._place_extensions()
        deadline = time.monotonic() + _ORPHAN_SECONDS
        while not self._start_once(may_retry=time.monotonic() < deadline):
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop the server, if it runs: open sessions are ended, what is committed stays.

        Raises:
            Problem: it did not stop.
        """
        server = self._server()
        if server is None:
            return
        if not server.stop(seconds=_STOP_SECONDS):
            raise Problem(
                f"Postgres did not stop within {_STOP_SECONDS} s.",
                state="It has been told to stop and is about to; its data are whole.",
                todo=f"Read {self.log} for what holds it up, and run the same command again.",
            )
        with suppress(OSError):
            server.socket_directory.rmdir()

    def kill(self) -> None:
        """End the server at once, without care for its data: they are about to be removed."""
        server = self._server()
        if server is not None:
            server.kill()
            shutil.rmtree(server.socket_directory, ignore_errors=True)

    def remove(self) -> None:
        """Remove the place and the socket's folder; the server must have ended."""
        shutil.rmtree(self._own_socket_directory, ignore_errors=True)
        if self.data.exists():
            # At once, so that an interruption leaves no half of a data folder.
            self.data.rename(self.removed)
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
        said_before = self.log.stat().st_size if self.log.exists() else 0
        started = self._run(
            "pg_ctl",
            [
                "start",
                "--pgdata=data",
                "--log=server.log",
                "--wait",
                f"--timeout={_START_SECONDS}",
                "--silent",
                f"--options={self._options()}",
            ],
            seconds=_START_SECONDS + 10,
        )
        # It says no too when a command that was killed had begun the same: then that one counts.
        if started.returncode == 0 or self._comes_up():
            return True
        words = self._said_since(said_before) or _last_words(started.stderr)
        if may_retry and "still in use" in words:
            # The server was killed; the last of its children are about to notice and go.
            return False
        raise Problem(
            f"Postgres did not start: {words}",
            state=f"It is not running; its data in {self.data} were not touched.",
            todo=f"Mend what it names, or read {self.log}; then run the same command again.",
        )

    def _options(self) -> str:
        """What the server is started with; pg_ctl hands it to a shell."""
        options = f"-k {self._own_socket_directory}"
        if self.programs.major < _FIRST_WITH_A_CONTROL_PATH:
            return options
        # Here and not among the settings: the place may move.
        where = shlex.quote(f"{self.extensions.resolve()}:$system")
        return f"{options} -c extension_control_path={where}"

    def _place_extensions(self) -> None:
        """Write anew what the server offers: the installation's own, and stand-ins for the rest."""
        shutil.rmtree(self.extensions, ignore_errors=True)
        folder = self.extensions / "extension"
        for private in (self.extensions, folder):
            self.account.make_private(private)
        for name, content in offered_files(self.programs.extensions).items():
            (folder / name).write_bytes(content)
            self.account.take(folder / name)

    @property
    def _own_socket_directory(self) -> Path:
        # By one name, whichever way the path was written.
        name = hashlib.sha256(os.fsencode(self.data.resolve())).hexdigest()[:16]
        return Path(f"{EMBEDDED_SOCKETS}{name}")

    def _server(self) -> Postmaster | None:
        """The server that serves our data now, if one lives."""
        return postmaster.serving(self.data, self._own_socket_directory)

    def _comes_up(self) -> bool:
        """Whether a server that lives already takes connections, now or when it has started.

        Raises:
            TryAgainLater: it goes on living without taking any.
        """
        deadline = time.monotonic() + _START_SECONDS
        while self._server() is not None:
            if self.answers():
                return True
            if time.monotonic() > deadline:
                raise TryAgainLater(
                    f"Postgres takes no connections after {_START_SECONDS} s.",
                    state="It lives: it may be recovering. Nothing is lost.",
                    todo=f"Wait, watch {self.log}, and run the same command again.",
                )
            time.sleep(0.01)
        return False

    def _clear_the_way(self) -> None:
        """Remove what would keep Postgres from starting though no server serves our data."""
        lock = self._own_socket_directory / f"{_SOCKET}.lock"
        of_removed_data = postmaster.holding(lock)
        if of_removed_data is not None:
            of_removed_data.kill()  # its folder was removed by hand
        # They name a process that ended, or another one by now. Shared memory still protects the
        # data from the children of a server that was killed.
        lock.unlink(missing_ok=True)
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _make_socket_directory(self) -> None:
        folder = self._own_socket_directory
        try:
            self.account.make_private(folder)
        except FileExistsError:
            found = folder.lstat()
            private = stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) == stat.S_IRWXU
            if not private or found.st_uid not in {self.account.uid, os.geteuid()}:
                raise Problem(
                    f"The folder for Postgres's socket, {folder}, is not a private one of ours.",
                    state="Postgres was not started.",
                    todo="Find out who made it, remove it, and run the same command again.",
                ) from None
            self.account.take(folder)

    def _turn_log_over(self) -> None:
        if self.log.exists() and self.log.stat().st_size > _LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))

    def _said_since(self, position: int) -> str:
        try:
            with self.log.open(errors="replace") as log:
                log.seek(position)
                return _last_words(log.read())
        except FileNotFoundError:
            return ""


def _last_words(text: str) -> str:
    """The end of what a program said, on one line: what is wrong, if it says so."""
    said = [_LOG_PREFIX.sub("", line).strip() for line in text.splitlines()]
    return " / ".join([line for line in said if line and not _ROUTINE.match(line)][-3:])
