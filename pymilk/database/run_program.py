"""Postgres's own client programs at work: no password on a command line, failures in a sentence."""

import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO

from pymilk.database.connection import without_password
from pymilk.problem import Problem, TryAgainLater

NO_ROOM = "No space left"
# What a program that is told to end may take to end its own workers and their sessions.
_TIDYING_UP_SECONDS = 10
_NOT_NOW = ("due to lock timeout", "could not obtain lock", "due to statement timeout")


@dataclass(frozen=True)
class Told:
    """How a failure of a program is told.

    Attributes:
        what: What failed, the beginning of the sentence.
        state: What became of the database and of the files.
    """

    what: str
    state: str

    def problem(self, said: str) -> Problem:
        """The problem of a program that said this before it failed."""
        lines = [line for line in said.splitlines() if line.strip()]
        sentence = next(
            (line for line in lines if "error:" in line.lower()), lines[-1] if lines else "no word"
        )
        if any(words in said for words in _NOT_NOW):
            return TryAgainLater(
                f"{self.what}: {sentence}",
                state=self.state,
                todo="Somebody changes a table at this moment; run it again when that has ended.",
            )
        todo = "Make room on the disk." if NO_ROOM in said else "See the message."
        return Problem(
            f"{self.what}: {sentence}", state=self.state, todo=f"{todo} Then run it again."
        )


@dataclass(frozen=True)
class Running:
    """A program at work."""

    process: subprocess.Popen[bytes]
    words: IO[bytes]
    told: Told

    @property
    def input(self) -> IO[bytes]:
        """What it reads, where that was asked for."""
        if self.process.stdin is None:
            raise AssertionError("the program was started without an input")
        return self.process.stdin

    @property
    def output(self) -> IO[bytes]:
        """What it prints, where that was asked for."""
        if self.process.stdout is None:
            raise AssertionError("the program was started without a pipe")
        return self.process.stdout

    def said(self) -> str:
        """What it has said so far."""
        self.words.seek(0)
        return self.words.read().decode(errors="replace")

    def finish(self) -> None:
        """Wait for its end.

        Raises:
            Problem: It failed.
        """
        if self.process.wait() != 0:
            raise self.told.problem(self.said())


@contextmanager
def running(
    command: Sequence[str],
    told: Told,
    *,
    url: str | None = None,
    piped: bool = False,
    fed: bool = False,
) -> Iterator[Running]:
    """Start a program, on a database or on files; when the block ends before it, it is ended.

    Args:
        command: Absolute path and arguments.
        told: How its failure is told.
        url: The database, if it works on one.
        piped: Whether the block reads what it prints.
        fed: Whether the block writes what it reads.
    """
    connected, environment = _connected(url)
    with (
        tempfile.TemporaryFile() as words,
        subprocess.Popen(
            [*command, *connected],
            env=environment,
            stdin=subprocess.PIPE if fed else subprocess.DEVNULL,
            stdout=subprocess.PIPE if piped else words,
            stderr=words,
        ) as process,
    ):
        try:
            with _ended_with_the_block(process):
                yield Running(process, words, told)
        finally:
            if process.stdin is not None:
                with suppress(BrokenPipeError):  # what it was still to read, it won't
                    process.stdin.close()


def run_program(
    command: Sequence[str], told: Told, *, url: str | None = None, given: str | None = None
) -> str:
    """Run a program to its end; gives what it printed.

    Args:
        command: Absolute path and arguments.
        told: How its failure is told.
        url: The database, if it works on one.
        given: What it reads.

    Raises:
        Problem: It failed.
    """
    connected, environment = _connected(url)
    with (
        subprocess.Popen(
            [*command, *connected],
            env=environment,
            stdin=subprocess.DEVNULL if given is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process,
        _ended_with_the_block(process),
    ):
        printed, said = process.communicate(
            # As bytes: read as text, the line ends of a function's body would become others.
            None if given is None else given.encode(errors="surrogateescape")
        )
    if process.returncode != 0:
        raise told.problem(said.decode(errors="replace"))
    return printed.decode(errors="surrogateescape")


@contextmanager
def _ended_with_the_block(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Whatever ends the block: the program has ended too, its workers and their sessions with it.

    It is asked before it is killed. Killed at once, pg_dump leaves its workers to go on by
    themselves, and they hold its session open, with a lock on every table.
    """
    try:
        yield
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_TIDYING_UP_SECONDS)
            finally:  # also when we are interrupted once more
                process.kill()


def _connected(url: str | None) -> tuple[list[str], dict[str, str]]:
    # What programs say is read by us, and told in English.
    environment = {**os.environ, "LC_ALL": "C"}
    if url is None:
        return [], environment
    shown, secret = without_password(url)
    return [f"--dbname={shown}"], {**environment, **secret}
