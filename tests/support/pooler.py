"""A real PgBouncer in front of the test server, on loopback, as an unprivileged user."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import conninfo

_PROGRAM = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
_PATIENCE_SECONDS = 15.0


def there_is_one() -> bool:
    """Whether PgBouncer is installed; .ci/run installs it."""
    return Path(_PROGRAM).exists()


@contextmanager
def pooler(url: str, mode: str) -> Iterator[str]:
    """Run a PgBouncer until the block ends; gives the URL that leads through it.

    Args:
        url: The real database.
        mode: `session` or `transaction`, as on Supabase's ports 5432 and 6543.
    """
    parts = conninfo.conninfo_to_dict(url)
    host = str(parts.get("host", ""))
    upstream = {key: parts[key] for key in ("user", "host", "port", "password") if parts.get(key)}
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder, "pgbouncer.ini")
        port = _free_port()
        settings.write_text(
            f"[databases]\n* = {' '.join(f'{key}={value}' for key, value in upstream.items())}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"pool_mode = {mode}\nauth_type = any\ndefault_pool_size = 10\n"
        )
        user = _somebody_who_reaches(host) if os.geteuid() == 0 else None
        if user is not None:
            shutil.chown(folder, user)
            shutil.chown(settings, user)
        process = subprocess.Popen(
            [_PROGRAM, "-q", settings],
            user=user,
            extra_groups=None if user is None else [],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        through = conninfo.make_conninfo(url, host="127.0.0.1", port=port, sslmode="disable")
        try:
            _wait(through, process)
            yield through
        finally:
            process.terminate()
            process.wait(timeout=20)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _somebody_who_reaches(host: str) -> int:
    """Whom PgBouncer may run as, since it refuses to be root: who runs Postgres can reach it."""
    return Path(host).stat().st_uid if host.startswith("/") else pwd.getpwnam("nobody").pw_uid


def _wait(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            if time.monotonic() > deadline or process.poll() is not None:
                raise
            time.sleep(0.05)
        else:
            return
