"""Asking before something happens, and saying that it did."""

import sys

import click

from pymilk.cli.render import say, say_json
from pymilk.problem import UsageProblem


def agree(ask: bool, yes: bool, question: str) -> None:
    """Ask a person, unless the policy or `--yes` answers; without a terminal that is an error."""
    if not ask or yes:
        return
    if not sys.stdin.isatty():
        raise UsageProblem(
            "There is no terminal to ask on.",
            state="Nothing was changed.",
            todo="Say it beforehand: --yes.",
        )
    confirm(question)


def confirm(question: str) -> None:
    """Ask on stderr: stdout may go into a file, and then holds the command's result alone.

    Raises:
        click.Abort: The answer is no.
    """
    click.confirm(question, abort=True, err=True)


def done(as_json: bool, sentence: str, value: object) -> None:
    """Say one sentence, or give the value as JSON."""
    if as_json:
        say_json(value)
    else:
        say(sentence)
