"""As which operating system user Postgres runs.

Postgres refuses to run as root. Where we are root, an unprivileged user that exists runs it: no
user is made, and nobody's folders are opened for it.
"""

import hashlib
import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pymilk.database.programs import Programs, copy_programs
from pymilk.problem import Problem

# Where root keeps what an unprivileged Postgres can't reach in a private folder.
OWN_PLACES = Path("/var/lib/pymilk")

_CANDIDATES = ("postgres", "nobody")


LARGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""For a Postgres whose sessions are short and many: their memory comes in large pages where the
machine has them, and a fresh session spends a quarter less in the kernel."""


@dataclass(frozen=True)
class Account:
    """The user that runs Postgres.

    Attributes:
        uid: Its number.
        gid: Its group's number.
        is_ours: Whether it is the user that we run as.
    """

    uid: int
    gid: int
    is_ours: bool

    def run(
        self, command: Sequence[str | Path], *, cwd: Path, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Run a program as this user, in a clean environment, with its output caught.

        Args:
            command: Absolute path and arguments.
            cwd: The folder to run it in.
            timeout: Seconds.

        Raises:
            subprocess.TimeoutExpired: it took longer.
            OSError: it could not be run at all.
        """
        return subprocess.run(
            command,
            cwd=cwd,
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            # PGDATA, PGPORT, LC_MESSAGES and the like would change what Postgres does and says.
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", **LARGE_PAGES},
            # Ctrl-C in the terminal is for us to handle.
            start_new_session=True,
            user=None if self.is_ours else self.uid,
            group=None if self.is_ours else self.gid,
            extra_groups=None if self.is_ours else [],
        )

    def reaches(self, path: Path) -> bool:
        """Whether this user can enter a folder, or run a program: asked of the kernel."""
        if self.is_ours:
            return True
        return (
            self.run(
                ["/bin/sh", "-c", 'test -x "$1"', "sh", path], cwd=Path("/"), timeout=10
            ).returncode
            == 0
        )

    def make_private(self, folder: Path) -> None:
        """Make one new folder that only this user (and root) can enter.

        Raises:
            FileExistsError: there is one already.
            OSError: it can't be made.
        """
        folder.mkdir(mode=0o700)
        self.take(folder)

    def take(self, folder: Path) -> None:
        """Make a folder of ours this user's.

        Raises:
            OSError: it can't be.
        """
        if not self.is_ours:
            os.chown(folder, self.uid, self.gid)


def server_account() -> Account:
    """Us; where we are root, the first of the users `postgres` and `nobody` that exists.

    Raises:
        Problem: we are root and neither exists.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), is_ours=True)
    for name in _CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid, is_ours=False)
    raise Problem(
        "Postgres does not run as root, and there is no unprivileged user to run it.",
        state="Nothing was started.",
        todo="Run this as an ordinary user, or make a user named postgres.",
    )


def own_place(name: str) -> Path:
    """A path for root's use where every user can be let in: /var/lib/pymilk/<name>.

    Raises:
        OSError: the folder above it can't be made.
    """
    if not OWN_PLACES.is_dir():
        OWN_PLACES.mkdir(parents=True, exist_ok=True)
        # Passed through by name only: what stands in it is not listed, and is private itself.
        OWN_PLACES.chmod(0o711)
    return OWN_PLACES / name


def programs_reached_by(account: Account, programs: Programs) -> Programs:
    """These programs, or a copy of them where the account can't run ours.

    The copy is made once for each build and belongs to root: the server can't change it.

    Raises:
        OSError: the copy can't be made.
        Problem: the programs are incomplete.
    """
    server = programs.path("postgres")
    if account.reaches(server):
        return programs
    with server.open("rb") as content:
        build = hashlib.file_digest(content, "sha256").hexdigest()[:16]
    copy = own_place(f"postgres-{programs.major}-{build}")
    if not copy.is_dir():
        unfinished = copy.with_name(f"{copy.name}.{os.getpid()}")
        try:
            copy_programs(programs, unfinished)
            unfinished.rename(copy)
        except OSError:
            # Another process may have finished the same copy meanwhile.
            if not copy.is_dir():
                raise
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    site = programs.directory.parents[2]
    return Programs(copy / programs.directory.relative_to(site), programs.major)
