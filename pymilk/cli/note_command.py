"""`pymilk note`: what people say of the database, beside what was done to it."""

from pathlib import Path

import click

from pymilk.cli import options
from pymilk.cli.answers import done


@click.command
@click.argument("text", help="What was said, in a sentence.")
@click.option("--answer", type=int, metavar="ID", help="The note that this one answers.")
@options.db_url
@options.project
@options.policy
@options.as_json
def note(
    *,
    text: str,
    answer: int | None,
    db_url: str | None,
    project: Path,
    policy: str | None,
    as_json: bool,
) -> None:
    """Write a complaint or an answer into the ledger; an open one stops the soak clock.

    Example: pymilk note "customer 47 says the bill is wrong"
    """
    from pymilk.cli.opening import open_project
    from pymilk.deploy.basis.notes import add_note

    opened = open_project(project, db_url, policy)
    number = add_note(opened.target, text, answers=answer)
    sentence = (
        f"Note {number} is in the ledger. The soak clock stands until it is answered:"
        f' pymilk note --answer {number} "what was found"'
        if answer is None
        else f"Note {answer} is answered; the soak clock goes on."
    )
    done(as_json, sentence, {"note": number, "answers": answer})
