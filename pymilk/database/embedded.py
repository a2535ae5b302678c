"""A Postgres 18 of our own, shaped like a Supabase project, in a folder and behind a socket."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pymilk.database import lockfile
from pymilk.database.cluster import SUPERUSER, Cluster, Setting
from pymilk.database.lookalike import DefaultPrivileges, make_supabase_shaped
from pymilk.database.place import (
    find_place,
    forget_place,
    make_place,
    noted_place,
    refuse_strangers,
    unusable,
)
from pymilk.database.programs import find_programs
from pymilk.database.running_as import programs_reached_by, server_account
from pymilk.database.services import stand_in_for_services
from pymilk.problem import Problem

_EVERYWHERE: tuple[Setting, ...] = (
    ("listen_addresses", ""),
    ("unix_socket_permissions", "0700"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
    ("max_connections", "100"),
    # In the data folder: in /dev/shm a killed server leaves it behind, and containers have little.
    ("dynamic_shared_memory_type", "mmap"),
    ("log_line_prefix", "%m [%p] %q%u@%d "),
)

# For data that are meant to survive.
DURABLE: tuple[Setting, ...] = (*_EVERYWHERE, ("shared_buffers", "128MB"))

# For data that are made to be thrown away.
THROW_AWAY: tuple[Setting, ...] = (
    *_EVERYWHERE,
    ("shared_buffers", "128MB"),
    ("fsync", "off"),
    ("synchronous_commit", "off"),
    ("full_page_writes", "off"),
    ("max_wal_size", "4GB"),
    # Nobody follows it: what is loaded into a table that was just made needs no log.
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
    ("maintenance_work_mem", "256MB"),
    ("checkpoint_flush_after", "0"),
    ("bgwriter_flush_after", "0"),
    ("wal_writer_flush_after", "0"),
)

_SCRATCH = "pymilk-scratch-"
_LOCK = ".lock"
_NEW = "new-"


@dataclass(frozen=True)
class EmbeddedServer:
    """A Postgres in a folder; it goes on running when the command that started it ends.

    Attributes:
        directory: The folder that the server belongs to. It holds a lock, and the data unless
            the user that runs Postgres can't reach it (only when we are root): then a file in
            it names the place in /var/lib/pymilk where they are.
        settings: Postgres's settings; they count when the data are made.
        privileges: Which default privileges the database `postgres` gets when it is made.
    """

    directory: Path
    settings: tuple[Setting, ...] = DURABLE
    privileges: DefaultPrivileges = DefaultPrivileges.OPEN

    def start(self) -> None:
        """Start the server, and make its data first where there are none.

        Does nothing when it runs. Safe when several processes do it at once, and after any of
        them was killed.

        Raises:
            Problem: it can't be made or does not start.
        """
        if self.running():
            return
        with self._locked():
            if self.running():
                return
            account = server_account()
            try:
                place = find_place(self.directory) or make_place(self.directory, account)
                programs = programs_reached_by(account, find_programs())
            except OSError as error:
                raise unusable(self.directory, str(error)) from error
            cluster = Cluster(place, programs, account)
            if not cluster.data.exists():
                self._create(cluster)
            cluster.start()

    def stop(self) -> None:
        """Stop the server, if it runs; its data stay.

        Raises:
            Problem: it does not stop.
        """
        if not self.directory.is_dir():
            return
        with self._locked():
            cluster = self._cluster()
            if cluster is not None:
                cluster.stop()

    def running(self) -> bool:
        """Whether the server takes connections now.

        Raises:
            Problem: the folder is another user's, or its data are gone.
        """
        cluster = self._cluster()
        return cluster is not None and cluster.answers()

    def destroy(self) -> None:
        """End the server and remove its data. The folder stays, with a lock in it.

        Raises:
            Problem: the folder is another user's.
            OSError: something in it can't be removed.
        """
        if not self.directory.is_dir():
            return
        with self._locked():
            place = noted_place(self.directory)
            if place is not None and place.exists():
                _remove(Cluster(place, find_programs(), server_account()))
            forget_place(self.directory)

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        """The libpq URL of a database on this server, through a socket that only we can reach.

        Args:
            database: Name of the database.
            user: The role to log in as; `supabase_admin` is the superuser.

        Raises:
            Problem: there is no server in this folder.
        """
        cluster = self._cluster()
        if cluster is None:
            raise Problem(
                f"There is no embedded Postgres in {self.directory}.",
                state="Nothing is running there.",
                todo="Start it: pymilk db start",
            )
        return cluster.url(database, user)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with ExitStack() as locked:
            try:
                if not self.directory.is_dir():
                    self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                    if os.geteuid() == 0:
                        # New and ours: passed through by name, so that Postgres's user gets by.
                        self.directory.chmod(0o711)
                refuse_strangers(self.directory)
                locked.enter_context(lockfile.held(self.directory / "lock"))
            except OSError as error:
                raise unusable(self.directory, str(error)) from error
            yield

    def _cluster(self) -> Cluster | None:
        """What was made before, if anything was."""
        place = find_place(self.directory)
        return None if place is None else Cluster(place, find_programs(), server_account())

    def _create(self, cluster: Cluster) -> None:
        """Make the data in a place of their own, and move them here when they are complete."""
        cluster.account.take(cluster.place)
        _remove_unfinished(cluster)
        # By another name each time: of a command that was killed, initdb may still be at work.
        place = cluster.place / f"{_NEW}{secrets.token_hex(4)}"
        newborn = Cluster(place, cluster.programs, cluster.account)
        cluster.account.make_private(newborn.place)
        newborn.create(self.settings)
        newborn.start()
        make_supabase_shaped(newborn.url("postgres", SUPERUSER), privileges=self.privileges)
        stand_in_for_services(newborn.url("postgres", SUPERUSER))
        newborn.stop()
        newborn.data.rename(cluster.data)
        _make_durable(cluster.place)
        _remove_unfinished(cluster)


def _make_durable(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(cluster: Cluster) -> None:
    _remove_unfinished(cluster)
    cluster.kill()
    cluster.remove()


def _remove_unfinished(cluster: Cluster) -> None:
    """Remove what commands that were killed have left of data that they made or removed."""
    shutil.rmtree(cluster.removed, ignore_errors=True)
    for place in cluster.place.glob(f"{_NEW}*"):
        unfinished = Cluster(place, cluster.programs, cluster.account)
        unfinished.kill()
        with suppress(OSError):  # something is at work in it still: the next time, then
            unfinished.remove()


@contextmanager
def scratch(*, privileges: DefaultPrivileges = DefaultPrivileges.OPEN) -> Iterator[EmbeddedServer]:
    """A server to throw away: started, and destroyed with its data when the block ends.

    Its data are private, but not safe: nothing waits for the disk. What a killed process left
    behind is removed by the next scratch server.

    Args:
        privileges: Which default privileges its database `postgres` gets.

    Raises:
        Problem: it does not start.
    """
    remove_leftovers()
    directory = Path(tempfile.gettempdir()) / f"{_SCRATCH}{secrets.token_hex(8)}"
    # The lock tells others that we live. It stands beside the folder and is made before it, so
    # that the folder is never there without it.
    lock = directory.with_suffix(_LOCK)
    with lockfile.held(lock):
        server = EmbeddedServer(directory, THROW_AWAY, privileges)
        try:
            server.start()
            yield server
        finally:
            _remove_scratch(directory)


def remove_leftovers() -> None:
    """Remove the scratch servers of processes that were killed, in the same temporary folder."""
    for lock in Path(tempfile.gettempdir()).glob(f"{_SCRATCH}*{_LOCK}"):
        with suppress(BlockingIOError, FileNotFoundError):
            if lock.lstat().st_uid == os.geteuid():
                with lockfile.held_if_free(lock):
                    _remove_scratch(lock.with_suffix(""))


def _remove_scratch(directory: Path) -> None:
    if directory.is_dir():
        EmbeddedServer(directory).destroy()
        shutil.rmtree(directory)
    directory.with_suffix(_LOCK).unlink()
