"""The `pymilk` command, as a user runs it, in a project of the measurement's own."""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from independent.server import ROOT

_PROGRAM = str(Path(sys.executable).parent / "pymilk")


# Linux counts for a program also what the process held that started it: this one holds little.
_WATCHED = """
import os, sys
_, status, usage = os.wait4(os.spawnv(os.P_NOWAIT, sys.argv[1], sys.argv[1:]), 0)
sys.stderr.write(f"{usage.ru_maxrss}\\n")
sys.exit(os.waitstatus_to_exitcode(status))
"""


@dataclass(frozen=True)
class Ended:
    """A command that ended well.

    Attributes:
        began: On the monotonic clock.
        ended: Likewise.
        out: What it printed.
        heard: Each line on stderr, and when it came.
    """

    began: float
    ended: float
    out: str
    heard: list[tuple[float, str]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.began

    def step(self, name: str, after: str) -> tuple[float, float]:
        """From when it told that one step was done to when it told it of the next."""
        at = {
            step: when for when, line in self.heard for step in (name, after) if f"✓ {step}" in line
        }
        return at[after], at[name]


def run(program: list[str], folder: Path, **environment: str) -> Ended:
    """Run a program to its end; what it says on stderr is noted as it comes.

    Raises:
        RuntimeError: It failed.
    """
    with (folder / "out").open("w+") as out:
        began = time.monotonic()
        process = subprocess.Popen(
            program,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        heard = []
        if process.stderr is not None:
            heard = [(time.monotonic(), line) for line in process.stderr]
            process.stderr.close()
        process.wait()
        ended = time.monotonic()
        out.seek(0)
        printed = out.read()
    if process.returncode != 0:
        said = printed[-2000:] + "".join(line for _, line in heard)[-2000:]
        raise RuntimeError(f"{' '.join(program)} ended with {process.returncode}: {said}")
    return Ended(began, ended, printed, heard)


@dataclass(frozen=True)
class Project:
    """A folder with supabase/ in it, and the database that it is deployed to."""

    folder: Path
    url: str

    def pymilk(self, command: str, *arguments: str) -> Ended:
        """Run a command of pymilk on the database."""
        return run(self._pymilk(command, *arguments), self.folder)

    def megabytes(self, command: str) -> float:
        """The most memory that a command of pymilk, or a program that it runs, holds at once."""
        watched = [sys.executable, "-I", "-S", "-c", _WATCHED, *self._pymilk(command)]
        _, last = run(watched, self.folder).heard[-1]
        return float(last) / 1024

    def _pymilk(self, command: str, *arguments: str) -> list[str]:
        of_this = ("--db-url", self.url, "--project", str(self.folder), "--policy", "local")
        return [_PROGRAM, command, *arguments, *of_this, "--json"]


def pymilk_alone(folder: Path, *arguments: str) -> Ended:
    """Run pymilk without a database."""
    return run([_PROGRAM, *arguments], folder)


def copy_of_ours(folder: Path) -> None:
    """Copy the project's own files: migrations with all that belongs to them."""
    for name in ("supabase", "sql"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "pyproject.toml", folder)
