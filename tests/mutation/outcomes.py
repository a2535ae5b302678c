"""What became of mutants, remembered: a run can be interrupted, and only survivors tried again.

One line of JSON for each trial, appended when it ends. A mutant that a test killed stays killed
for as long as neither its own text nor the file of that test changes.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cache
from hashlib import sha256
from pathlib import Path

from mutation.mutants import Mutant
from support.databases import ROOT


class Fate(StrEnum):
    """What became of a mutant."""

    KILLED = "killed"
    HUNG = "hung"
    """Noticed too: the tests came to no end."""
    SURVIVED = "survived"
    STILLBORN = "stillborn"
    """Postgres doesn't even take it."""
    UNTRIED = "untried"
    """The tests could not be run: something is wrong with the tool."""


@dataclass(frozen=True)
class Outcome:
    """One mutant tried.

    Attributes:
        mutant: Its identity.
        file: The file that it changes.
        fate: What became of it.
        killer: The test or the verification that failed first; empty when none did.
        proof: The hash of the killer's file.
        tests: How many there were to run.
    """

    mutant: str
    file: str
    fate: Fate
    killer: str
    proof: str
    tests: int


def outcome(mutant: Mutant, fate: Fate, *, killer: str = "", tests: int = 0) -> Outcome:
    """The outcome of a trial that ends now."""
    proof = _hash(killer.partition("::")[0]) if killer else ""
    return Outcome(mutant.identity, mutant.file, fate, killer, proof, tests)


def remember(path: Path, said: Outcome) -> None:
    """Append it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(said)) + "\n")


def settled(path: Path) -> Mapping[str, Outcome]:
    """By identity, the mutants that need not be tried again."""
    return {said.mutant: said for said in _all(path) if _stands(said)}


def killers(path: Path) -> Mapping[str, frozenset[str]]:
    """File → the tests that have killed a mutant of it: likely to kill the next one too."""
    found: dict[str, set[str]] = {}
    for said in _all(path):
        if said.killer:
            found.setdefault(said.file, set()).add(said.killer)
    return {file: frozenset(tests) for file, tests in found.items()}


def _stands(said: Outcome) -> bool:
    if said.fate is Fate.KILLED:
        return said.proof == _hash(said.killer.partition("::")[0])
    return said.fate is Fate.STILLBORN


def _all(path: Path) -> Iterator[Outcome]:
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            said = json.loads(line)
            yield Outcome(**{**said, "fate": Fate(said["fate"])})


@cache
def _hash(file: str) -> str:
    path = ROOT / file
    return sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else ""
