"""`pymilk call`: one of the database's functions, called at the terminal."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pymilk.cli import options
from pymilk.cli.render import answer_text, say, say_json
from pymilk.problem import Problem, TryAgainLater, UsageProblem

if TYPE_CHECKING:
    from pymilk.rpc.failures import PymilkError


@click.command
@click.argument("function", help="Its name.")
@click.option(
    "--arg",
    multiple=True,
    metavar="NAME=VALUE",
    help="An argument; lists and objects as JSON, null for null.",
)
@click.option("--key", metavar="KEY", help="The idempotency key; made up where it is needed.")
@click.option("--dry-run", is_flag=True, help="Call it, and undo what it did.")
@click.option("--schema", default="public", metavar="NAME", help="Whose function.")
@options.db_url
@options.project
@options.as_json
def call(
    *,
    function: str,
    arg: tuple[str, ...],
    key: str | None,
    dry_run: bool,
    schema: str,
    db_url: str | None,
    project: Path,
    as_json: bool,
) -> None:
    """Call a function of the database, in a transaction of its own.

    Example: pymilk call normalize_payment_method --arg method=gpay
    """
    from pymilk.cli.opening import open_project
    from pymilk.database.connection import connect
    from pymilk.generate.by_name import call_by_name
    from pymilk.generate.catalog import read_catalog
    from pymilk.rpc.client import Client
    from pymilk.rpc.failures import PymilkError

    target = open_project(project, db_url, None).target
    with connect(target.url, purpose="call") as connection:
        prepared = call_by_name(read_catalog(connection, schema), function, _pairs(arg))
    try:
        with Client.postgres(target.url) as client:
            answer = client.call(prepared, idempotency_key=key, dry_run=dry_run)
    except ValueError as error:  # a key that can't be one
        raise UsageProblem(f"{error}.", state="Nothing was called.") from error
    except PymilkError as error:
        raise _problem(error) from error
    if as_json:
        say_json(answer)
    else:
        say(*answer_text(answer), *(["Undone: this was a dry run."] if dry_run else []))


def _pairs(arguments: tuple[str, ...]) -> dict[str, str]:
    pairs = [argument.partition("=") for argument in arguments]
    wrong = [name for name, equals, _ in pairs if not equals]
    if wrong:
        raise UsageProblem(
            f"'{wrong[0]}' is no argument.",
            state="Nothing was called.",
            todo="Write it as --arg NAME=VALUE.",
        )
    return {name.strip(): value for name, _, value in pairs}


def _problem(error: "PymilkError") -> Problem:
    from pymilk.rpc.failures import NotConnected, OutcomeUnknown, Transient

    if isinstance(error, OutcomeUnknown):
        ask = f"pymilk call request_outcome --arg key={error.idempotency_key}"
        todo = ask if error.idempotency_key else "Look at what it would have written."
        return Problem(str(error), state="It may have been written, or not.", todo=todo)
    if isinstance(error, Transient | NotConnected):
        return TryAgainLater(str(error), state="Nothing was written.", todo="Call it again.")
    return Problem(f"{error.reason}: {error}", state="Nothing was written.")
