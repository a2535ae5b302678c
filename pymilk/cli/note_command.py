"""`pymilk note`: what people say of the database, beside what was done to it."""

from typing import Annotated

import typer

from pymilk.cli.answers import done
from pymilk.cli.options import HERE, AsJson, DbUrl, PolicyName, ProjectFolder


def note(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What was said, in a sentence.")],
    answer: Annotated[
        int | None,
        typer.Option("--answer", metavar="ID", help="The note that this one answers."),
    ] = None,
    db_url: DbUrl = None,
    project: ProjectFolder = HERE,
    policy: PolicyName = None,
    as_json: AsJson = False,
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
