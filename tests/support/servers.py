"""The Postgres server of a test run: one of several kinds, asked for by environment.

PYMILK_TEST_DSN      a running server: the URL of its superuser supabase_admin
PYMILK_TEST_BACKEND  embedded or container: that kind, or the run fails
PYMILK_TEST_MAJOR    the container's Postgres, 17 unless given

With none of them: a container where a Docker engine answers, the embedded server otherwise.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import docker
import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from pymilk.database import container, embedded
from pymilk.database.cluster import SUPERUSER
from pymilk.database.lookalike import give_passwords, make_supabase_shaped
from pymilk.problem import Problem

DEFAULT_MAJOR = 17

# Postgres's in its container, and how long its address may take to answer: at once or never.
_PORT = 5432
_REACHED_SECONDS = 2

_IN_OUR_IMAGES = {"pymilk-postgres:17": {"plpgsql_check"}}
"""What .ci/postgres-image installs beside Postgres."""


@dataclass(frozen=True)
class Server:
    """A running server whose database `postgres` is Supabase-shaped.

    Attributes:
        backend: embedded, container or dsn.
        url: Gives the URL of a database for a role: `url("postgres", "supabase_admin")`.
        major: Its major version.
    """

    backend: str
    url: Callable[[str, str], str]
    major: int
    _open: list[psycopg.Connection[TupleRow]] = field(default_factory=list, repr=False)

    def administer(self, statement: str, *names: str) -> None:
        """Run a statement on databases by name, in one session for all: most tests make one."""
        self._administering().execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def drop(self, name: str) -> None:
        """Drop a database that may be gone already, and end the sessions that are left in it.

        Postgres looks for sessions, and again only after a tenth of a second: one that a test has
        just closed is nearly always still there. They are waited for here, by the millisecond.
        """
        deadline = time.monotonic() + _GONE_SECONDS
        while time.monotonic() < deadline:
            left = self._administering().execute(_END_SESSIONS, [name])
            if left.rowcount == 0:
                break
            time.sleep(0.001)
        self.administer("drop database if exists {} with (force)", name)

    def close(self) -> None:
        """End that session."""
        for session in self._open:
            session.close()

    def _administering(self) -> psycopg.Connection[TupleRow]:
        if not self._open or self._open[0].closed:
            url = self.url("postgres", SUPERUSER)
            self._open[:] = [psycopg.connect(url, autocommit=True)]
        return self._open[0]


# What hangs on is ended by force.
_GONE_SECONDS = 1
_END_SESSIONS = """
select pg_catalog.pg_terminate_backend(a.pid) from pg_catalog.pg_stat_activity as a
where a.datname = %s
"""

_MEMORY = Path("/dev/shm")  # noqa: S108 - what is put there is private
_ENOUGH = 4 * 1024**3


def keep_in_memory() -> None:
    """Have servers and temporary files in memory where there is room: twice as fast."""
    room = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ENOUGH
    if room and "TMPDIR" not in os.environ:
        os.environ["TMPDIR"] = str(_MEMORY)
        tempfile.tempdir = None  # asked anew


@contextmanager
def running_server() -> Iterator[Server]:
    """The server that the environment asks for, ended when the block ends."""
    dsn = os.environ.get("PYMILK_TEST_DSN")
    wanted = os.environ.get("PYMILK_TEST_BACKEND")
    if dsn:
        with closing(_at_dsn(dsn)) as server:
            yield server
    elif wanted == "embedded":
        with _embedded() as server:
            yield server
    elif wanted == "container":
        with _container(_wanted_major()) as server:
            yield server
    elif wanted:
        raise ValueError(f"PYMILK_TEST_BACKEND is {wanted}; it can be embedded or container")
    else:
        with _whichever_there_is() as server:
            yield server


def offers(extension: str) -> bool:
    """Whether the server that the environment asks for has this extension, without starting it."""
    dsn = os.environ.get("PYMILK_TEST_DSN")
    if dsn:
        with psycopg.connect(dsn) as connection:
            found = connection.execute(
                "select from pg_available_extensions where name = %s", [extension]
            )
            return found.rowcount == 1
    if os.environ.get("PYMILK_TEST_BACKEND", "container") != "container":
        return False
    try:
        image = container.find_image(_wanted_major())
    except Problem:
        return False
    return extension in _IN_OUR_IMAGES.get(image, set())


@contextmanager
def _whichever_there_is() -> Iterator[Server]:
    try:
        image = container.find_image(_wanted_major())
    except Problem:
        with _embedded() as server:
            yield server
    else:
        with _container(_wanted_major(), image) as server:
            yield server


@contextmanager
def _embedded() -> Iterator[Server]:
    with embedded.scratch() as server, closing(_described("embedded", server.url)) as described:
        yield described


@contextmanager
def _container(major: int, image: str | None = None) -> Iterator[Server]:
    with (
        container.scratch(major, image=image or container.find_image(major)) as server,
        closing(_described("container", _direct(server).url)) as described,
    ):
        yield described


def _direct(server: container.ContainerServer) -> container.ContainerServer:
    """The same server at its container's own address, where that can be reached from here.

    A statement takes a quarter of the time that it takes through Docker's proxy.
    """
    with closing(docker.from_env()) as client:
        networks = [
            network
            for running in client.containers.list(filters={"publish": server.port})
            for network in running.attrs["NetworkSettings"]["Networks"].values()
        ]
    for network in networks:
        direct = replace(server, host=network["IPAddress"], port=_PORT)
        with suppress(psycopg.OperationalError):
            psycopg.connect(direct.url(), connect_timeout=_REACHED_SECONDS).close()
            return direct
    return server


def _at_dsn(dsn: str) -> Server:
    parts = urlsplit(dsn)

    def url(database: str, user: str) -> str:
        _, at, host = parts.netloc.rpartition("@")
        secret = f":{parts.password}" if parts.password else ""
        return urlunsplit(parts._replace(netloc=f"{user}{secret}{at}{host}", path=f"/{database}"))

    make_supabase_shaped(url("postgres", SUPERUSER))
    if parts.password:
        give_passwords(url("postgres", SUPERUSER), parts.password)
    return _described("dsn", url)


def _described(backend: str, url: Callable[[str, str], str]) -> Server:
    with psycopg.connect(url("postgres", SUPERUSER)) as connection:
        return Server(backend, url, connection.info.server_version // 10_000)


def _wanted_major() -> int:
    return int(os.environ.get("PYMILK_TEST_MAJOR", DEFAULT_MAJOR))
