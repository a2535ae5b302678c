"""The real PostgREST in front of a database, on loopback, as an unprivileged user."""

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import jwt
from psycopg import conninfo

from support.databases import Database
from support.tools import tool

_PATIENCE_SECONDS = 20.0


@dataclass(frozen=True)
class PostgREST:
    """A running PostgREST.

    Attributes:
        port: Where it answers, at `/rpc/…`.
        admin_port: Where it says whether it is ready.
        secret: What its tokens are signed with.
    """

    port: int
    admin_port: int
    secret: str

    def token(self, role: str, *, seconds: int = 3600, **claims: object) -> str:
        """A JWT of one of the API's roles, as Supabase's keys and users' tokens are."""
        expires = int(time.time()) + seconds
        return jwt.encode({"role": role, "exp": expires, **claims}, self.secret, algorithm="HS256")


def postgrest(database: Database) -> AbstractContextManager[PostgREST]:
    """Run a PostgREST in front of a test's database; see `serving`."""
    return serving(database.server.url(database.name, "authenticator"))


@contextmanager
def serving(url: str) -> Iterator[PostgREST]:
    """Run a PostgREST until the block ends; it is ready when the block begins.

    Args:
        url: The database, as Supabase's `authenticator`.
    """
    program = tool("postgrest")
    assert program is not None
    port, admin_port = _free_ports()
    api = PostgREST(port, admin_port, secrets.token_hex(32))
    with tempfile.TemporaryDirectory() as folder:
        # A place of its own: an unprivileged user can't enter ours.
        runs = Path(folder, "postgrest")
        shutil.copy(program, runs)
        user = _somebody_who_reaches(url) if os.geteuid() == 0 else None
        if user is not None:
            shutil.chown(folder, user)
        process = subprocess.Popen(
            [runs],
            cwd=folder,
            user=user,
            extra_groups=None if user is None else [],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={
                "PGRST_DB_URI": url,
                "PGRST_DB_SCHEMAS": "public,extensions",
                "PGRST_DB_ANON_ROLE": "anon",
                "PGRST_DB_POOL": "10",
                "PGRST_JWT_SECRET": api.secret,
                "PGRST_SERVER_HOST": "127.0.0.1",
                "PGRST_SERVER_PORT": str(port),
                "PGRST_ADMIN_SERVER_PORT": str(admin_port),
            },
        )
        try:
            _wait(api, process)
            yield api
        finally:
            process.terminate()
            process.wait(timeout=20)


def wait_until_ready(api: PostgREST) -> bool:
    """Whether it says that its schema cache is loaded."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{api.admin_port}/ready", timeout=5) as said:
            return bool(said.status == 200)
    except (OSError, urllib.error.HTTPError):
        return False


def _wait(api: PostgREST, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not wait_until_ready(api):
        if time.monotonic() > deadline or process.poll() is not None:
            raise RuntimeError("PostgREST does not start")
        time.sleep(0.05)


def _free_ports() -> tuple[int, int]:
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as two,
    ):
        return int(one.getsockname()[1]), int(two.getsockname()[1])


def _somebody_who_reaches(url: str) -> int:
    """Whom it may run as: who runs Postgres can reach its socket."""
    host = str(conninfo.conninfo_to_dict(url).get("host", ""))
    return Path(host).stat().st_uid if host.startswith("/") else pwd.getpwnam("nobody").pw_uid
