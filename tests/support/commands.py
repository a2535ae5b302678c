"""Run the real `pymilk` as a process of its own, as a person or a crash would meet it."""

import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from support.preloaded import Preloaded

preloaded = Preloaded()


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Ours without a database named in it."""
    kept = {name: value for name, value in os.environ.items() if name != "SUPABASE_DB_URL"}
    return {**kept, **(extra or {})}


def start(
    *arguments: str, cwd: Path, extra: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start `pymilk …` without a terminal."""
    return subprocess.Popen(
        [Path(sys.executable).with_name("pymilk"), *arguments],
        cwd=cwd,
        env=environment(extra),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@contextmanager
def at_a_terminal(
    *arguments: str, cwd: Path, extra: Mapping[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[str], IO[bytes]]]:
    """Start `pymilk …` with a person at its input, whose keys are what is written to the second.

    What it says goes into pipes, as with `pymilk … > file`.
    """
    keys, terminal = pty.openpty()
    with (
        os.fdopen(keys, "wb", buffering=0) as typed,
        subprocess.Popen(
            [Path(sys.executable).with_name("pymilk"), *arguments],
            cwd=cwd,
            env=environment(extra),
            stdin=terminal,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        os.close(terminal)
        # One that asks where the test does not listen would wait for an answer for ever.
        too_long = threading.Timer(60, process.kill)
        too_long.start()
        try:
            yield process, typed
        finally:
            too_long.cancel()
            process.kill()


def run(
    *arguments: str, cwd: Path, extra: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `pymilk …` to its end, a process of its own that did not have to load it."""
    return preloaded.run(arguments, cwd, environment(extra))
