"""`pymilk` with its modules loaded once: each command is a fork of this process.

Loading takes 0.3 s of processor time, and the tests start `pymilk` some hundreds of times. What is
forked is a process of its own with its own folder, environment, session and exit code. Run as a
program it reads commands from its input, a line of JSON each, and says how each ended. A test that
asks about loading or signals starts an interpreter instead (`commands.start`).
"""

import json
import os
import pkgutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from select import select
from signal import SIGKILL
from tempfile import TemporaryFile
from threading import Lock

_SECONDS = 120
_LOADED = ("cli", "database", "deploy", "project", "report")


class Preloaded:
    """That process, started for the first command; commands follow one another."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._asking = Lock()

    def run(
        self, arguments: Sequence[str], cwd: Path, environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Run `pymilk …` to its end, without a terminal.

        Raises:
            subprocess.TimeoutExpired: It took two minutes, and was killed.
        """
        with self._asking, TemporaryFile() as out, TemporaryFile() as err:
            process = self._process = self._process or _started()
            assert process.stdin is not None
            assert process.stdout is not None
            asked = {
                "arguments": list(arguments),
                "cwd": str(cwd),
                "environment": dict(environment),
                "files": [f"/proc/{os.getpid()}/fd/{file.fileno()}" for file in (out, err)],
            }
            process.stdin.write(json.dumps(asked).encode() + b"\n")
            process.stdin.flush()
            command = int(process.stdout.readline())
            if not select([process.stdout], [], [], _SECONDS)[0]:
                os.kill(command, SIGKILL)
                self.end()  # what it still says is of this command, and not of the next
                raise subprocess.TimeoutExpired(list(arguments), _SECONDS)
            status = int(process.stdout.readline())
            said = [_text(file.fileno()) for file in (out, err)]
        return subprocess.CompletedProcess(["pymilk", *arguments], status, *said)

    def end(self) -> None:
        """End it, if it was started."""
        if self._process is not None:
            with self._process as ending:
                assert ending.stdin is not None
                ending.stdin.close()
            self._process = None


def _started() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def _text(file: int) -> str:
    return os.pread(file, os.fstat(file).st_size, 0).decode()


def _serve() -> None:
    """Fork for each command that is asked for; tell its number, then its exit code."""
    for asked in iter(sys.stdin.buffer.readline, b""):
        child = os.fork()
        if child == 0:
            _become(**json.loads(asked))
        _tell(child)
        _, status = os.waitpid(child, 0)
        _tell(os.waitstatus_to_exitcode(status))


def _tell(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def _become(arguments: list[str], cwd: str, environment: dict[str, str], files: list[str]) -> None:
    """Be that command; does not return."""
    from pymilk.__main__ import main  # noqa: PLC0415 - what it loads for itself stays as it is

    os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY), number)
    sys.argv[:] = ["pymilk", *arguments]
    sys.exit(main())


def _load() -> None:
    for package in _LOADED:
        parent = import_module(f"pymilk.{package}")
        for module in pkgutil.walk_packages(parent.__path__, f"pymilk.{package}."):
            import_module(module.name)
    if len(list(Path("/proc/self/task").iterdir())) > 1:
        raise RuntimeError("a module starts a thread when it is loaded: it would be lost in a fork")


if __name__ == "__main__":
    _load()
    _serve()
