"""`pymilk assess`: which way of changing this database is safe, and what is missing for it."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from pymilk.cli.options import HERE, AsJson, DbUrl, PolicyName, ProjectFolder
from pymilk.cli.render import say, say_json

if TYPE_CHECKING:
    from pymilk.cli.opening import Opened
    from pymilk.deploy.assess import Assessment


def assess(
    db_url: DbUrl = None,
    project: ProjectFolder = HERE,
    policy: PolicyName = None,
    as_json: AsJson = False,
) -> None:
    """Answer the safety questionnaire, and say what follows from it and what is missing.

    What only people know is asked on a terminal; kept, it stands in pyproject.toml under
    [tool.pymilk.assess].

    Example: pymilk assess --json
    """
    from pymilk.cli.opening import open_project
    from pymilk.deploy.assess import assess as run_assess

    opened = open_project(project, db_url, policy)
    told = {} if as_json or not sys.stdin.isatty() else _asked(opened)
    rules = opened.project.policy(opened.target.preset)
    found = run_assess(opened.project, opened.target, rules, told)
    if as_json:
        say_json({"database": opened.target.label, **vars(found)})
        return
    say(opened.target.label, *_text(found))
    if told:
        say("", "To keep your answers, put them into pyproject.toml:", "[tool.pymilk.assess]")
        say(*(f'{key} = "{value}"' for key, value in told.items()))


def _asked(opened: "Opened") -> dict[str, str]:
    from pymilk.deploy.assess import QUESTIONS, kept_answers

    kept = kept_answers(opened.project)
    told = {}
    for key, (question, answers) in QUESTIONS.items():
        if key not in kept:
            said = typer.prompt(f"{question} ({', '.join(answers)}; empty: not sure)", default="")
            if said in answers:
                told[key] = str(said)
    return told


def _text(found: "Assessment") -> Iterator[str]:
    for each in found.answers:
        yield f"  {each.question:<46} {each.answer or '? (unanswered: ' + each.key + ')'}"
    yield from ("", f"  Strategy: {found.strategy}", f"    {found.reason}", "", "  Risks")
    for factor, row in found.risks.items():
        yield f"    {factor}"
        yield from (f"      {strategy:<20} {meaning}" for strategy, meaning in row.items())
    yield from ("", "  Missing, worst first" if found.missing else "  Nothing is missing.")
    for number, measure in enumerate(found.missing, 1):
        yield f"    {number}. {measure.missing}: {measure.todo}"
