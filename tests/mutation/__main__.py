"""How much do the tests notice? Change the SQL in many small ways, and see which no test sees.

make mutate ARGS="--gap 001 --sample 100 --seed 7"

What became of each is remembered in .pymilk/mutation: interrupted, a run goes on where it was, and
run again it tries only what was not noticed, or was by a test that has changed since.
"""

import argparse
import signal
import sys
import tomllib
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from itertools import takewhile
from pathlib import Path

from mutation.mutants import Mutant, mutants_of
from mutation.outcomes import Fate, killers, remember, settled
from mutation.selection import recorded_tests, tests_for
from mutation.trial import Trial, try_all
from pymilk.project.project import load_project
from support.databases import ROOT

Key = tuple[str, str, str]
EXPLAINED = Path(__file__).parent / "explained.toml"
MEMORY = ROOT / ".pymilk" / "mutation"
OUTCOMES = MEMORY / "outcomes.jsonl"


def main(arguments: Sequence[str]) -> int:
    """Try mutants and print the score; 1 when it is below what is asked for."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    asked = _asked(arguments)
    every = list(mutants_of(load_project(ROOT).migrations))
    explained, stale = _explained(every)
    chosen = [
        mutant
        for mutant in every
        if (not asked.gap or any(f"_gap_{asked.gap}_" in stem for stem in mutant.texts))
        and (asked.only in str(mutant))
    ]
    chosen = _by_lot(chosen, asked.seed)[: asked.sample]
    counted = [mutant for mutant in chosen if mutant.key not in explained]
    _say(f"{len(every)} mutants; {len(chosen)} chosen, {len(chosen) - len(counted)} explained")
    if asked.list:
        _say(*map(str, counted))
        return 0
    if asked.again:
        OUTCOMES.unlink(missing_ok=True)
    known = settled(OUTCOMES)
    fates = {each.identity: known[each.identity].fate for each in counted if each.identity in known}
    todo = [mutant for mutant in counted if mutant.identity not in fates]
    if todo:
        fates |= _tried(todo, asked)
    # Interrupted, it tells of those whose turn it was: what is known of later ones is no sample.
    tried = list(takewhile(lambda mutant: mutant.identity in fates, counted))
    if len(tried) < len(counted):
        _say(f"interrupted: the first {len(tried)} of {len(counted)}")
    score = _report([(mutant.what, fates[mutant.identity]) for mutant in tried])
    _say(*(f"explained.toml, not there any more: {' | '.join(key)}" for key in stale))
    return int(score < asked.at_least or bool(stale))


def _asked(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make mutate", description=__doc__)
    parser.add_argument("--gap", help="mutants that change this gap's migration: 001")
    parser.add_argument("--only", default="", help="mutants whose line says this")
    parser.add_argument("--sample", type=int, help="as many, drawn at random")
    parser.add_argument("--seed", default="1", help="what they are drawn by")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--limit", type=float, default=60, help="processor time of its tests")
    parser.add_argument("--at-least", type=float, default=0, help="the score to reach, in per cent")
    parser.add_argument("--again", action="store_true", help="forget what became of mutants")
    parser.add_argument("--list", action="store_true", help="only say which")
    return parser.parse_args(arguments)


def _by_lot(mutants: Sequence[Mutant], seed: str) -> list[Mutant]:
    """In an order that chance decides: what was tried when a run is interrupted is a sample too.

    Where the SQL changes elsewhere, the lots stay as they are.
    """

    def lot(mutant: Mutant) -> str:
        return sha256(f"{seed}\0{mutant.identity}".encode()).hexdigest()

    return sorted(mutants, key=lot)


def _explained(every: Sequence[Mutant]) -> tuple[set[Key], list[Key]]:
    """Mutants that no test could notice, each with its reason; and those that are no more."""
    said = tomllib.loads(EXPLAINED.read_text(encoding="utf-8")).get("equivalent", [])
    keys = {(each["file"], each["was"], each["becomes"]) for each in said if each["reason"]}
    return keys, sorted(keys - {mutant.key for mutant in every})


def _tried(mutants: Sequence[Mutant], asked: argparse.Namespace) -> dict[str, Fate]:
    """Try them, remember what became of each, and say which were not noticed."""
    recorded = recorded_tests(MEMORY / "calls.json")
    killed_by = killers(OUTCOMES)
    trials = [
        Trial(mutant, *tests_for(mutant, recorded, killed_by.get(mutant.file, set()), asked.limit))
        for mutant in mutants
    ]
    fates: dict[str, Fate] = {}
    with suppress(KeyboardInterrupt):
        for trial, outcome in try_all(trials, workers=asked.workers):
            if outcome.fate is Fate.UNTRIED:
                raise SystemExit(f"its tests could not be run: {trial.mutant}")
            remember(OUTCOMES, outcome)
            fates[outcome.mutant] = outcome.fate
            if outcome.fate is Fate.SURVIVED:
                said = f"survived {outcome.tests} tests: {trial.mutant}"
                _say(f"{len(fates)}/{len(trials)} {said}")
    return fates


def _report(outcomes: Sequence[tuple[str, Fate]]) -> float:
    by_kind: dict[str, Counter[Fate]] = {}
    for what, fate in outcomes:
        by_kind.setdefault(what, Counter())[fate] += 1
    _say("")
    for what, found in sorted(by_kind.items()):
        _say(f"  {what:<14} {_noticed(found):>4} of {_counted(found)}")
    fates = Counter(fate for _, fate in outcomes)
    score = 100 * _noticed(fates) / (_counted(fates) or 1)
    _say(
        f"{_noticed(fates)} of {_counted(fates)} noticed: {score:.1f} %"
        f" ({fates[Fate.HUNG]} of them by hanging;"
        f" {fates[Fate.STILLBORN]} that Postgres doesn't take are not counted)"
    )
    return score


def _noticed(fates: Counter[Fate]) -> int:
    return fates[Fate.KILLED] + fates[Fate.HUNG]


def _counted(fates: Counter[Fate]) -> int:
    return fates.total() - fates[Fate.STILLBORN]


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
