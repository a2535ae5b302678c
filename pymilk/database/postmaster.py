"""The server's process: found by the files that it leaves, and told from any other process.

A number in a file proves little: after a crash of the machine, or in a copied folder, it is
another process's. What proves it is the socket's folder in the process's command, which belongs
to one data folder alone.
"""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

_KILL_SECONDS = 10


def find(file: Path, socket_directory: Path) -> int | None:
    """The process id of the server that a pid or lock file names, if it lives.

    Args:
        file: Its first line is a process id.
        socket_directory: The server's.
    """
    try:
        pid = int(file.read_text().split("\n", 1)[0])
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return pid if _has_socket_in(pid, socket_directory) else None


def stop(pid: int, socket_directory: Path, *, seconds: float) -> bool:
    """Stop a server in order: its sessions are ended, and all is written.

    Args:
        pid: Of the server.
        socket_directory: The server's.
        seconds: How long to wait for it.

    Returns:
        Whether it has ended.
    """
    return _ends(pid, socket_directory, signal.SIGINT, seconds)


def kill(pid: int, socket_directory: Path) -> None:
    """End a server at once. What is committed, and was written, is recovered at its next start."""
    # SIGQUIT is Postgres's immediate shutdown: its own children end with it.
    if not _ends(pid, socket_directory, signal.SIGQUIT, _KILL_SECONDS):
        _ends(pid, socket_directory, signal.SIGKILL, _KILL_SECONDS)


def _ends(pid: int, socket_directory: Path, number: signal.Signals, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    with suppress(ProcessLookupError):
        os.kill(pid, number)
    while _has_socket_in(pid, socket_directory):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def _has_socket_in(pid: int, socket_directory: Path) -> bool:
    if not Path("/proc/self").exists():
        return _lives(pid)  # a system without /proc, where the file has to do
    try:
        # Unlike what else /proc says of it, another user's command may be read without privilege.
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    # Of a process that has ended, and that nobody has noticed yet, the command is empty.
    return os.fsencode(socket_directory) in command.split(b"\0")


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False  # ended; or another user's, so not ours
    return True
