"""A Postgres in a Docker container, shaped like a Supabase project and thrown away after use."""

import contextlib
import io
import secrets
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast
from urllib.parse import quote

import docker
import docker.errors
import psycopg
from psycopg.conninfo import make_conninfo
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer

from pymilk.database import lockfile
from pymilk.database.cluster import SUPERUSER
from pymilk.database.extensions import stand_ins_beside
from pymilk.database.lookalike import (
    WITH_PASSWORDS,
    DefaultPrivileges,
    give_passwords,
    make_supabase_shaped,
)
from pymilk.database.running_as import LARGE_PAGES
from pymilk.database.services import stand_in_for_services
from pymilk.problem import Problem

_PORT = 5432
_LOOPBACK = "127.0.0.1"
_START_SECONDS = 120
_DATA = "/var/lib/postgresql/data"
LABEL = "pymilk.scratch"  # the lock file of the process that the container belongs to
_PREFIX = "pymilk-container-"

# Thrown away after use: nothing waits for the disk.
_COMMAND = [
    "postgres",
    *("-c", "fsync=off"),
    *("-c", "synchronous_commit=off"),
    *("-c", "full_page_writes=off"),
    *("-c", "max_wal_size=4GB"),
    *("-c", "max_connections=100"),
    *("-c", "timezone=UTC"),
    *("-c", "log_timezone=UTC"),
]


# From this major version on a server can be told how many rounds a password's hash takes.
_CHOOSES_ROUNDS = 16


@dataclass(frozen=True)
class ContainerServer:
    """A running Postgres in a container.

    Attributes:
        host: Where its port is published.
        port: The published port.
        password: Of the roles supabase_admin and postgres.
    """

    host: str
    port: int
    password: str = field(repr=False)

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        """The libpq URL of a database on this server."""
        who = f"{quote(user, safe='')}:{quote(self.password, safe='')}"
        return f"postgresql://{who}@{self.host}:{self.port}/{quote(database, safe='')}"


def find_image(major: int) -> str:
    """The image for this major version: our own build where there is one, or the official one.

    Raises:
        Problem: no Docker engine answers, or there is neither image and none can be pulled.
    """
    ours, official = f"pymilk-postgres:{major}", f"postgres:{major}"
    try:
        client = docker.from_env()
    except docker.errors.DockerException as error:
        raise Problem(
            "No Docker engine answers.",
            state="No container was started.",
            todo="Start Docker, or use the embedded Postgres.",
        ) from error
    with contextlib.closing(client):
        for name in (ours, official):
            with contextlib.suppress(docker.errors.ImageNotFound):
                client.images.get(name)
                return name
        try:
            client.images.pull(official)
        except docker.errors.APIError as error:
            raise Problem(
                f"There is no image of Postgres {major}, and {official} can't be pulled.",
                state="No container was started.",
                todo=f"Build one from Debian's packages: .ci/postgres-image {major}",
            ) from error
    return official


@contextmanager
def scratch(
    major: int,
    *,
    image: str | None = None,
    privileges: DefaultPrivileges = DefaultPrivileges.OPEN,
) -> Iterator[ContainerServer]:
    """A container to throw away: started, shaped, and removed when the block ends.

    What a killed process left behind is removed by the next one.

    Args:
        major: Postgres's major version, for example 17.
        image: The image to use; found when not given.
        privileges: Which default privileges its database `postgres` gets.

    Raises:
        Problem: no Docker engine answers, there is no image, or Postgres does not start.
    """
    image = image or find_image(major)
    _remove_leftovers()
    lock = Path(tempfile.gettempdir()) / f"{_PREFIX}{secrets.token_hex(8)}.lock"
    password = secrets.token_urlsafe(24)
    with lockfile.held(lock):
        try:
            with _container(image, password, lock) as running:
                host = _LOOPBACK if _engine_is_here() else running.get_container_host_ip()
                server = ContainerServer(host, int(running.get_exposed_port(_PORT)), password)
                _wait_until_ready(server, running)
                _offer_extensions(server, running)
                make_supabase_shaped(server.url(user=SUPERUSER), privileges=privileges)
                stand_in_for_services(server.url(user=SUPERUSER))
                _give_passwords(server, major)
                yield server
        finally:
            lock.unlink()


def _container(image: str, password: str, lock: Path) -> DockerContainer:
    # Its reaper is one image more to pull; our own lock does its work.
    testcontainers_config.ryuk_disabled = True
    container = (
        DockerContainer(image, shm_size="256m", labels={LABEL: f"{_identity(lock)} {lock}"})
        .with_command(_COMMAND)
        .with_env("POSTGRES_USER", SUPERUSER)
        .with_env("POSTGRES_PASSWORD", password)
        .with_env("POSTGRES_DB", "postgres")
        # Said for the official images, whose own choices differ from one to the next.
        .with_env("POSTGRES_INITDB_ARGS", "--no-locale --encoding=UTF8")
        .with_env("PGDATA", _DATA)
        .with_envs(**LARGE_PAGES)
        .with_exposed_ports(_PORT)
    )
    container.tmpfs[_DATA] = "rw"
    if _engine_is_here():
        # It may hold a copy of live data: nobody on the network is to reach it.
        # Docker takes an address alone for "any port there"; testcontainers' type doesn't know.
        container.ports = cast("dict[str, int | None]", {f"{_PORT}/tcp": (_LOOPBACK,)})
    return container


def _give_passwords(server: ContainerServer, major: int) -> None:
    """Let the roles log in, the superuser too, without the thousands of rounds of a login.

    They make a guessable password hard to guess from what the server keeps; this one is random,
    and gone with the server.
    """
    rounds = "-c scram_iterations=1" if major >= _CHOOSES_ROUNDS else ""
    url = make_conninfo(server.url(user=SUPERUSER), options=rounds)
    give_passwords(url, server.password, (SUPERUSER, *WITH_PASSWORDS))


def _engine_is_here() -> bool:
    """Whether the engine answers on a socket of this machine, and nobody names another host."""
    with contextlib.closing(docker.from_env()) as client:
        local = str(client.api.base_url).startswith("http+docker://localhost")
    return local and not testcontainers_config.tc_host_override


def _wait_until_ready(server: ContainerServer, container: DockerContainer) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            psycopg.connect(server.url(user=SUPERUSER), connect_timeout=5).close()
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                out, err = container.get_logs()
                words = (out + err).decode(errors="replace").strip().splitlines()
                raise Problem(
                    f"Postgres did not start in its container: {' / '.join(words[-3:])}",
                    state="The container is removed; nothing else was touched.",
                    todo="Look into the image, or use the embedded Postgres.",
                ) from error
            time.sleep(0.05)
        else:
            return


def _offer_extensions(server: ContainerServer, running: DockerContainer) -> None:
    """Put the stand-ins of extensions beside the image's own, and let the owner make any of them.

    Raises:
        Problem: The image is one that they can't be put into.
    """
    with psycopg.connect(server.url(user=SUPERUSER)) as connection:
        found = connection.execute(
            "select setting from pg_catalog.pg_config where name = 'SHAREDIR'"
        ).fetchone()
        names = connection.execute("select name from pg_catalog.pg_available_extensions")
        real = {name for (name,) in names}
    folder = f"{found[0] if found else ''}/extension"
    container = running.get_wrapped_container()
    try:
        container.put_archive(folder, _as_tar(stand_ins_beside(real)))
        trusted = container.exec_run(["sh", "-c", _TRUST_ALL], user="root", workdir=folder)
    except docker.errors.APIError as error:
        raise _not_into(folder, str(error)) from error
    if trusted.exit_code:
        raise _not_into(folder, trusted.output.decode(errors="replace"))


# As `postgres` may on a hosted project, where a superuser makes them for it.
_TRUST_ALL = """
for control in *.control; do
  grep -q '^ *trusted' "$control" || printf '\\ntrusted = true\\n' >> "$control" || exit 1
done
"""


def _as_tar(files: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def _not_into(folder: str, why: str) -> Problem:
    return Problem(
        f"Extensions could not be put into the container's {folder}: {why.strip()}",
        state="The container is removed; nothing else was touched.",
        todo="Use an official image of Postgres, or the embedded server.",
    )


def _remove_leftovers() -> None:
    client = docker.from_env()
    with contextlib.closing(client):
        for container in client.containers.list(
            all=True, filters={"label": LABEL}, ignore_removed=True
        ):
            identity, _, path = container.labels[LABEL].partition(" ")
            lock = Path(path)
            if _identity(lock) != identity:
                # Of somebody with another /tmp, as in a container beside us: not ours to judge.
                continue
            # BlockingIOError: its process lives. Else an OSError: it is another user's.
            with contextlib.suppress(OSError), lockfile.held_if_free(lock):
                with contextlib.suppress(docker.errors.NotFound):
                    container.remove(force=True, v=True)
                lock.unlink()


def _identity(lock: Path) -> str:
    """What tells this very file from one of the same name on another file system."""
    try:
        found = lock.stat()
    except OSError:
        return "none"
    return f"{found.st_dev}:{found.st_ino}"
