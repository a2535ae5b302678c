"""Which tests concern a mutant: those that call its function while it says what is changed."""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from mutation.mutants import Mutant
from support.databases import ROOT

SUITES = ("tests/contract", "tests/dairy", "tests/rpc")
# Compares migrations with the function files: it would notice every mutant, and prove nothing.
LEFT_OUT = ("test_function_files.py",)
# What can notice privileges, policies and constraints: nothing that is called.
BROAD = re.compile(r"access|verif|every_migration|privileg|direct_writes|hostile|contract")


@dataclass(frozen=True)
class Recorded:
    """What a test was seen to do.

    Attributes:
        calls: Stage → the functions that it called there.
        seconds: How long it took.
    """

    calls: Mapping[str, frozenset[str]]
    seconds: float


def recorded_tests(folder: Path) -> Mapping[str, Recorded]:
    """What each test calls; run once for files as they are, and remembered."""
    path = folder / f"calls-{_fingerprint()}.json"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(_record()), encoding="utf-8")
    return {
        test: Recorded(
            {stage: frozenset(functions) for stage, functions in said["calls"].items()},
            said["seconds"],
        )
        for test, said in json.loads(path.read_text(encoding="utf-8")).items()
    }


def tests_for(
    mutant: Mutant, recorded: Mapping[str, Recorded], budget: float
) -> tuple[list[str], float]:
    """The tests to run until one fails, those likeliest to first, and the seconds they take.

    A call that ends in an error is not counted: so those that mention it, and the neighbours of
    those that call it, follow.
    """
    stages = [_stage_of(stem) for stem in mutant.stages]
    concerned = {
        test: min(stages.index(stage) for stage in said.calls if stage in stages)
        for test, said in recorded.items()
        if any(stage in stages for stage in said.calls) and _file(test) not in LEFT_OUT
    }
    calling = {
        test
        for test in concerned
        for stage, functions in recorded[test].calls.items()
        if stage in stages and mutant.functions & functions
    }
    files = {test.partition("::")[0] for test in calling}
    broad = not mutant.functions or mutant.what == "privilege" or "/migrations/" in mutant.file
    ranked: list[tuple[int, int, float, str]] = []
    for test, stage in concerned.items():
        reasons = (
            any(name in test for name in mutant.names),
            any(name in _source(test.partition("::")[0]) for name in mutant.names),
            test in calling,
            test.partition("::")[0] in files,
            broad and BROAD.search(test) is not None,
        )
        if any(reasons):
            ranked.append((reasons.index(True), stage, recorded[test].seconds, test))
    chosen: list[str] = []
    seconds = 0.0
    for _, _, needed, test in sorted(ranked):
        if seconds + needed <= budget:
            chosen.append(test)
            seconds += needed
    return chosen, seconds


def _file(test: str) -> str:
    return test.partition("::")[0].rpartition("/")[2]


@cache
def _source(file: str) -> str:
    return (ROOT / file).read_text(encoding="utf-8")


def _stage_of(stem: str) -> str:
    gap = re.search(r"_gap_(\d+)_", stem)
    return f"dairy_{gap.group(1)}" if gap else "dairy_hardened"


def _fingerprint() -> str:
    """Of everything that decides what a test calls."""
    digest = sha256()
    for folder in (
        "supabase",
        "sql",
        "tests/contract",
        "tests/dairy",
        "tests/rpc",
        "tests/support",
        "pymilk/rpc",
    ):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in {".sql", ".py"}:
                digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _record() -> Mapping[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-q", "-n", "2", "-m", "not long or alone"),
                *("-p", "mutation.recording", "-p", "no:cacheprovider", *SUITES),
            ],
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT / "tests"),
                "PYMILK_TEST_BACKEND": "embedded",
                "MUTATION_CALLS": folder,
            },
            stdout=subprocess.DEVNULL,
            check=False,  # a test that fails anyway concerns nothing
        )
        found: dict[str, object] = {}
        for path in Path(folder).glob("*.json"):
            found |= json.loads(path.read_text(encoding="utf-8"))
    return found
