"""Which tests concern a mutant: those that call its function while it says what is changed."""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from mutation.mutants import Mutant
from support.databases import ROOT, STAGES

SUITES = ("tests/contract", "tests/dairy", "tests/rpc")
# Compares migrations with the function files: it would notice every mutant, and prove nothing.
LEFT_OUT = ("test_function_files.py",)
# What can notice privileges, policies and constraints: nothing that is called.
BROAD = re.compile(r"access|verif|every_migration|privileg|direct_writes|hostile|contract")
# By the kind of change, the tests that are about nothing else.
ABOUT = {
    "privilege": re.compile(r"access|privileg"),
    "row security": re.compile(r"access"),
    "not null": re.compile(r"kept_tables|direct_writes"),
    "check": re.compile(r"kept_tables|direct_writes"),
}


@dataclass(frozen=True)
class Recorded:
    """What a test was seen to do.

    Attributes:
        calls: Stage → the functions that it called there.
        seconds: How long it took.
    """

    calls: Mapping[str, frozenset[str]]
    seconds: float


def recorded_tests(path: Path) -> Mapping[str, Recorded]:
    """What each test calls, remembered in a file: tests whose text has changed are asked again.

    It decides nothing but the order and the choice of tests: that other functions may have come to
    be called meanwhile does no harm.
    """
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    current = {
        str(file.relative_to(ROOT)): sha256(file.read_bytes()).hexdigest()[:16]
        for suite in SUITES
        for file in sorted((ROOT / suite).glob("test_*.py"))
        if file.name not in LEFT_OUT
    }
    kept = {file: said for file, said in known.items() if said["of"] == current.get(file)}
    missing = [file for file in current if file not in kept]
    if missing:
        found = _record(missing)
        kept |= {file: {"of": current[file], "tests": found.get(file, {})} for file in missing}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(kept), encoding="utf-8")
    return {
        test: Recorded(
            {stage: frozenset(functions) for stage, functions in said["calls"].items()},
            said["seconds"],
        )
        for file in kept.values()
        for test, said in file["tests"].items()
    }


def tests_for(
    mutant: Mutant, recorded: Mapping[str, Recorded], killers: AbstractSet[str], budget: float
) -> tuple[list[str], float]:
    """The tests to run until one fails, those likeliest to first, and the seconds they take.

    First what has killed another mutant of the same file; then what is named like the function,
    or speaks of the rules around the change. A call that ends in an error is not counted: so tests
    that mention the function, and the neighbours of those that call it, follow. Among equals,
    files take turns: a file is about one thing.
    """
    # Tests that begin before it, or with a database of their own, migrate as they go.
    before = STAGES[: STAGES.index(_stage_of(min(mutant.stages)))]
    stages = {_stage_of(stem) for stem in mutant.stages}.union(before)
    concerned = {
        test: said
        for test, said in recorded.items()
        if not said.calls or not stages.isdisjoint(said.calls)
    }
    calling = {
        test
        for test, said in concerned.items()
        if any(
            stage in stages and mutant.functions & called for stage, called in said.calls.items()
        )
    }
    files = {_file(test) for test in calling}
    broad = not mutant.functions or mutant.what == "privilege" or "/migrations/" in mutant.file
    ranked: list[tuple[int, float, str]] = []
    for test, said in concerned.items():
        reasons = (
            test in killers,
            mutant.what in ABOUT and ABOUT[mutant.what].search(test) is not None,
            any(name in test for name in mutant.names),
            test in calling and any(word in _source(_file(test)) for word in mutant.words),
            any(name in _source(_file(test)) for name in mutant.names),
            test in calling,
            _file(test) in files,
            broad and BROAD.search(test) is not None,
        )
        if any(reasons):
            ranked.append((reasons.index(True), said.seconds, test))
    chosen: list[str] = []
    seconds = 0.0
    for needed, test in _from_each_file(ranked):
        if seconds + needed <= budget:
            chosen.append(test)
            seconds += needed
    return chosen, seconds


def _from_each_file(ranked: Iterable[tuple[int, float, str]]) -> Iterator[tuple[float, str]]:
    """By reason; among equals one of each file in turn, the quickest first."""
    turns: Counter[tuple[int, str]] = Counter()
    in_turn: list[tuple[int, int, float, str]] = []
    for reason, seconds, test in sorted(ranked):
        in_turn.append((reason, turns[reason, _file(test)], seconds, test))
        turns[reason, _file(test)] += 1
    yield from ((seconds, test) for _, _, seconds, test in sorted(in_turn))


def _file(test: str) -> str:
    return test.partition("::")[0]


@cache
def _source(file: str) -> str:
    return (ROOT / file).read_text(encoding="utf-8")


def _stage_of(stem: str) -> str:
    gap = re.search(r"_gap_(\d+)_", stem)
    return f"dairy_{gap.group(1)}" if gap else "dairy_hardened"


def _record(files: Iterable[str]) -> Mapping[str, Mapping[str, object]]:
    """File → its tests, run once as they are."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-q", "-n", "2", "-m", "not long or alone"),
                *("-p", "mutation.recording", "-p", "no:cacheprovider", *files),
            ],
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT / "tests"),
                "PYMILK_TEST_BACKEND": "embedded",
                "MUTATION_CALLS": folder,
            },
            stdout=subprocess.DEVNULL,
            check=False,  # tests that fail anyway are left out
        )
        found: dict[str, dict[str, object]] = {}
        for path in Path(folder).glob("*.json"):
            for test, said in json.loads(path.read_text(encoding="utf-8")).items():
                found.setdefault(_file(test), {})[test] = said
    return found
