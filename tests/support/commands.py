"""Run the real `pymilk` as a process of its own, as a person or a crash would meet it."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

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


def run(
    *arguments: str, cwd: Path, extra: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `pymilk …` to its end, a process of its own that did not have to load it."""
    return preloaded.run(arguments, cwd, environment(extra))
