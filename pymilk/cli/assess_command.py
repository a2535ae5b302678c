"""`pymilk assess`: which way of changing this database is safe, and what is missing for it."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pymilk.cli import options
from pymilk.cli.render import say, say_json

if TYPE_CHECKING:
    from pymilk.cli.opening import Opened
    from pymilk.deploy.survey.assess import Assessment

_SECTION = ("tool", "pymilk", "assess")


@click.command
@options.db_url
@options.project
@options.policy
@click.option(
    "--answer",
    multiple=True,
    metavar="KEY=ANSWER",
    help="Answer a question beforehand (may be repeated).",
)
@options.yes
@options.as_json
def assess(
    *,
    db_url: str | None,
    project: Path,
    policy: str | None,
    answer: tuple[str, ...],
    yes: bool,
    as_json: bool,
) -> None:
    """Answer the safety questionnaire, and say what follows from it and what is missing.

    What only people know is asked on a terminal, or given with --answer; it is kept in
    pyproject.toml under [tool.pymilk.assess], after a question, or with --yes.

    Example: pymilk assess --answer monitoring=yes --yes
    """
    from pymilk.cli.opening import open_project
    from pymilk.deploy.survey.assess import assess as run_assess

    given = _given(answer)
    opened = open_project(project, db_url, policy)
    ask = sys.stdin.isatty() and not as_json
    told = {**given, **(_asked(opened, given) if ask else {})}
    rules = opened.project.policy(opened.target.preset)
    found = run_assess(opened.project, opened.target, rules, told)
    if not as_json:
        say(opened.target.label, *_text(found))
    kept = _keep(opened, told, yes=yes, ask=ask)
    if as_json:
        say_json({"database": opened.target.label, **vars(found), "kept": kept})


def _given(answers: Sequence[str]) -> dict[str, str]:
    from pymilk.deploy.survey.assess import refuse_no_answers

    pairs = [text.partition("=") for text in answers]
    told = {key.strip(): value.strip() for key, _, value in pairs}
    refuse_no_answers(told, "--answer")
    return told


def _asked(opened: "Opened", given: Mapping[str, str]) -> dict[str, str]:
    from pymilk.deploy.survey.assess import QUESTIONS, kept_answers

    known = {*kept_answers(opened.project), *given}
    told = {}
    for key, (question, answers) in QUESTIONS.items():
        if key not in known:
            asked = f"{question} ({', '.join(answers)}; empty: not sure)"
            said = click.prompt(asked, default="", err=True)
            if said in answers:
                told[key] = str(said)
    return told


def _keep(opened: "Opened", told: Mapping[str, str], *, yes: bool, ask: bool) -> dict[str, str]:
    """Write new answers into pyproject.toml; gives those that were."""
    from pymilk.deploy.survey.assess import kept_answers
    from pymilk.project.settings_file import keep_settings

    known = kept_answers(opened.project)
    new = {key: value for key, value in told.items() if known.get(key) != value}
    if not new:
        return {}
    lines = [f"[{'.'.join(_SECTION)}]", *(f'{key} = "{value}"' for key, value in new.items())]
    if not yes:
        # Beside the question: stdout holds the result alone.
        sys.stderr.write("\n".join(("", *lines, "")))
        if not ask:
            sys.stderr.write("Not kept: with --yes it goes into pyproject.toml.\n")
            return {}
        if not click.confirm("Put this into pyproject.toml?", err=True):
            return {}
    keep_settings(opened.project.root, _SECTION, new)
    return new


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
