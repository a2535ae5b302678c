"""Locks between processes, on files: freed by the kernel however their holder ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock of this file, waiting for whoever has it now.

    Raises:
        OSError: the file can't be opened or made.
    """
    with _locked(path, fcntl.LOCK_EX):
        yield


@contextmanager
def held_if_free(path: Path) -> Iterator[None]:
    """Hold the lock of this file, without waiting.

    Raises:
        BlockingIOError: somebody has it.
        OSError: the file can't be opened or made.
    """
    with _locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB):
        yield


@contextmanager
def _locked(path: Path, operation: int) -> Iterator[None]:
    while True:
        # Opened by Python, it is not inherited: a server that we start must not hold our lock.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, operation)
            if not _is_still_at(descriptor, path):
                # Its last holder removed the file: a lock on it excludes nobody any more.
                continue
            yield
            return
        finally:
            os.close(descriptor)


def _is_still_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False
