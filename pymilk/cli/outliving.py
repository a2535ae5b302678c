"""Go on when the terminal is lost: what would be written to it goes into a file instead."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

_PRIVATE = 0o600  # what broke names customers


@contextmanager
def outliving_the_terminal(log: Path) -> Iterator[None]:
    """Until the block ends, losing the terminal is no interruption.

    Args:
        log: The file that takes the terminal's place; one is made when it is needed.
    """
    # One that is lost no longer says that it was one.
    terminals = [each for each in (0, 1, 2) if os.isatty(each)]

    def lost(_signal: int, _frame: FrameType | None) -> None:
        if not terminals:
            return  # what we write goes into a file or a pipe, which is still there
        log.parent.mkdir(exist_ok=True)
        instead = os.open(log, os.O_RDWR | os.O_CREAT | os.O_APPEND, _PRIVATE)
        for each in terminals:
            os.dup2(instead, each)
        os.close(instead)
        terminals.clear()
        sys.stderr.write(f"The terminal was lost at {datetime.now(UTC):%F %T} UTC; going on.\n")

    before = signal.signal(signal.SIGHUP, lost)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)
