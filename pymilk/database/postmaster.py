"""The server's process: found by the file that it leaves in its data, and told from any other.

A number in a file proves little: after a crash of the machine, or in a copied folder, it is
another process's. A process is the server of some data when its command names the socket's folder
that the file names, and the shared memory that the file names belongs to these data.
"""

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_KILL_SECONDS = 10

# The lines of postmaster.pid, which grows while the server starts.
_PID, _SOCKET_DIRECTORY, _SHARED_MEMORY = 0, 4, 6

# Postgres numbers its shared memory by the data folder's inode, or by the next free number.
_KEYS = 16


@dataclass(frozen=True)
class Postmaster:
    """A server that lives.

    Attributes:
        pid: Its process.
        socket_directory: The folder of its socket.
    """

    pid: int
    socket_directory: Path

    def stop(self, *, seconds: float) -> bool:
        """Stop it in order: its sessions are ended, and all is written.

        Args:
            seconds: How long to wait for it.

        Returns:
            Whether it has ended.
        """
        return self._ends(signal.SIGINT, seconds)

    def kill(self) -> None:
        """End it at once. What is committed, and was written, is recovered at its next start."""
        # SIGQUIT is Postgres's immediate shutdown: its own children end with it.
        if not self._ends(signal.SIGQUIT, _KILL_SECONDS):
            self._ends(signal.SIGKILL, _KILL_SECONDS)

    def _ends(self, number: signal.Signals, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)
        while _has_socket_in(self.pid, self.socket_directory):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        return True


def serving(data: Path, expected_socket_directory: Path) -> Postmaster | None:
    """The server that serves these data, if one lives.

    It may have its socket elsewhere: it was started when the data had another path.

    Args:
        data: The data folder.
        expected_socket_directory: Where its socket is while the file doesn't tell.
    """
    try:
        lines = [line.strip() for line in (data / "postmaster.pid").read_text().splitlines()]
        pid = int(lines[_PID])
        inode = data.stat().st_ino
    except (FileNotFoundError, NotADirectoryError, ValueError, IndexError):
        return None
    told = lines[_SOCKET_DIRECTORY] if len(lines) > _SOCKET_DIRECTORY else ""
    socket_directory = Path(told) if told else expected_socket_directory
    if not _has_socket_in(pid, socket_directory):
        return None
    if len(lines) > _SHARED_MEMORY and not _is_numbered_by(inode, lines[_SHARED_MEMORY]):
        return None  # a copied file
    return Postmaster(pid, socket_directory)


def holding(socket_lock: Path) -> Postmaster | None:
    """The server that holds a socket, if one lives, whatever data it serves."""
    try:
        pid = int(socket_lock.read_text().split("\n", 1)[0])
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    if not _has_socket_in(pid, socket_lock.parent):
        return None
    return Postmaster(pid, socket_lock.parent)


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


def _is_numbered_by(inode: int, shared_memory: str) -> bool:
    """Whether a line of key and id names the shared memory of the data with this inode."""
    key, _, _ = shared_memory.partition(" ")
    # Keys have 32 bits, inodes 64.
    return key.isdigit() and (int(key) - inode) % 2**32 < _KEYS


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False  # ended; or another user's, so not ours
    return True
