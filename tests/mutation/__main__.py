"""How much do the tests notice? Change the SQL in many small ways, and see which no test sees.

make mutate ARGS="--gap 001 --sample 100 --seed 7"
"""

import argparse
import random
import sys
import tomllib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mutation.mutants import Mutant, mutants_of
from mutation.selection import recorded_tests, tests_for
from mutation.trial import Fate, Outcome, Trial, try_all
from pymilk.project.project import load_project
from support.databases import ROOT

Key = tuple[str, str, str]
EXPLAINED = Path(__file__).parent / "explained.toml"


def main(arguments: Sequence[str]) -> int:
    """Try mutants and print the score; 1 when it is below what is asked for."""
    asked = _asked(arguments)
    every = list(mutants_of(load_project(ROOT).migrations))
    explained, stale = _explained(every)
    chosen = [
        mutant
        for mutant in every
        if mutant.key not in explained
        and (not asked.gap or any(f"_gap_{asked.gap}_" in stem for stem in mutant.texts))
        and (asked.only in str(mutant))
    ]
    if asked.sample and asked.sample < len(chosen):
        drawn = random.Random(asked.seed).sample(range(len(chosen)), asked.sample)  # noqa: S311
        chosen = [chosen[number] for number in sorted(drawn)]
    _say(f"{len(every)} mutants, {len(explained)} explained; {len(chosen)} to try")
    if asked.list:
        _say(*map(str, chosen))
        return 0
    recorded = recorded_tests(ROOT / ".pymilk" / "mutation")
    todo = [Trial(mutant, *tests_for(mutant, recorded, asked.limit)) for mutant in chosen]
    outcomes = []
    for outcome in try_all(todo, workers=asked.workers):
        outcomes.append(outcome)
        if outcome.fate is Fate.SURVIVED:
            trial = outcome.trial
            _say(f"{len(outcomes)}/{len(todo)} survived {len(trial.tests)} tests: {trial.mutant}")
    score = _report(outcomes)
    _say(*(f"explained.toml, not there any more: {' | '.join(key)}" for key in stale))
    return int(score < asked.at_least or bool(stale))


def _asked(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make mutate", description=__doc__)
    parser.add_argument("--gap", help="mutants that change this gap's migration: 001")
    parser.add_argument("--only", default="", help="mutants whose line says this")
    parser.add_argument("--sample", type=int, help="as many, drawn at random")
    parser.add_argument("--seed", default="1", help="what they are drawn by")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--limit", type=float, default=60, help="seconds of tests for a mutant")
    parser.add_argument("--at-least", type=float, default=0, help="the score to reach, in per cent")
    parser.add_argument("--list", action="store_true", help="only say which")
    return parser.parse_args(arguments)


def _explained(every: Sequence[Mutant]) -> tuple[set[Key], list[Key]]:
    """Mutants that no test could notice, each with its reason; and those that are no more."""
    said = tomllib.loads(EXPLAINED.read_text(encoding="utf-8")).get("equivalent", [])
    keys = {(each["file"], each["was"], each["becomes"]) for each in said if each["reason"]}
    return keys, sorted(keys - {mutant.key for mutant in every})


def _report(outcomes: Sequence[Outcome]) -> float:
    by_kind: dict[str, Counter[Fate]] = {}
    for outcome in outcomes:
        by_kind.setdefault(outcome.trial.mutant.what, Counter())[outcome.fate] += 1
    _say("")
    for what, found in sorted(by_kind.items()):
        _say(f"  {what:<14} {_noticed(found):>4} of {_noticed(found) + found[Fate.SURVIVED]}")
    fates = Counter(outcome.fate for outcome in outcomes)
    noticed, counted = _noticed(fates), _noticed(fates) + fates[Fate.SURVIVED]
    score = 100 * noticed / counted if counted else 100.0
    _say(
        f"{noticed} of {counted} noticed: {score:.1f} % ({fates[Fate.HUNG]} of them by hanging;"
        f" {fates[Fate.STILLBORN]} that Postgres doesn't take are not counted)"
    )
    return score


def _noticed(fates: Counter[Fate]) -> int:
    return fates[Fate.KILLED] + fates[Fate.HUNG]


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
