"""The command line: its commands, and how it ends.

Each command is in a module of its own name, which parses, calls one function, and renders what that
gives.

What a command needs is imported when it runs, so that `--help` doesn't wait for a database driver.
"""

import io
import logging
import signal
import sys
from contextlib import suppress

import click

from pymilk.cli.adopt_command import adopt
from pymilk.cli.assess_command import assess
from pymilk.cli.backup_command import backup
from pymilk.cli.call_command import call
from pymilk.cli.check_command import check
from pymilk.cli.deploy_command import deploy
from pymilk.cli.drift_command import drift
from pymilk.cli.embedded_commands import db
from pymilk.cli.generate_command import generate
from pymilk.cli.history_command import history
from pymilk.cli.in_order import InOrder
from pymilk.cli.lint_command import lint
from pymilk.cli.machine import give_up_output, problem_of
from pymilk.cli.new_command import new
from pymilk.cli.note_command import note
from pymilk.cli.plan_command import plan
from pymilk.cli.rehearse_command import rehearse
from pymilk.cli.render import problem_text
from pymilk.cli.report_command import report
from pymilk.cli.restore_command import restore
from pymilk.cli.restore_test_command import restore_test
from pymilk.cli.rollback_command import rollback
from pymilk.cli.snapshot_command import snapshot
from pymilk.cli.status_command import status
from pymilk.cli.under_way import state_of_the_change
from pymilk.cli.verify_command import verify
from pymilk.cli.watch_command import watch
from pymilk.problem import Problem, TryAgainLater, UsageProblem


@click.group(cls=InOrder, context_settings={"show_default": True})
@click.version_option(package_name="pymilk", message="%(prog)s %(version)s")
def app() -> None:
    """The safest way to change a live Supabase database that has no staging.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 something to do (what a look finds), 75 try again
    later (nothing is wrong), 130 interrupted. Every failure says in which state the database is.
    """


for command in (
    deploy,
    rollback,
    rehearse,
    plan,
    backup,
    restore_test,
    restore,
    status,
    drift,
    history,
    report,
    note,
    verify,
    check,
    watch,
    adopt,
    assess,
    snapshot,
    generate,
    call,
    new,
    lint,
    db,
):
    app.add_command(command)

_INTERRUPTED = 130


def run() -> int:
    """Run a command line; gives its exit code."""
    _prepare()
    try:
        return _run()
    except BrokenPipeError:  # `pymilk status | head`
        give_up_output()
        return 1
    except OSError as error:
        problem = problem_of(error)
        with suppress(OSError):  # what takes no more of what we say may be on the same disk
            sys.stderr.write(problem_text(problem))
        return problem.exit_code


def _run() -> int:
    try:
        return int(app(standalone_mode=False) or 0)
    except (click.ClickException, click.Abort) as ended:
        return _ended_by(ended)
    except Problem as problem:
        sys.stdout.flush()
        sys.stderr.write(problem_text(problem))
        return problem.exit_code
    except _driver_error() as error:  # evaluated only now, when it matters
        return _lost(error)


def _prepare() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a log that knows only ASCII gets a question mark
    logging.getLogger("psycopg").setLevel(logging.CRITICAL)  # what it says, we say in words
    # Being told to end, or losing the terminal, is an interruption like Ctrl-C: it tidies up.
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)


def _ended_by(ended: click.ClickException | click.Abort) -> int:
    """What Click has to say of what was typed; or a person said no, or pressed Ctrl-C."""
    if isinstance(ended, click.exceptions.NoArgsIsHelpError):
        ended.show()
        return ended.exit_code
    if isinstance(ended, click.Abort):
        if isinstance(ended.__cause__, KeyboardInterrupt):
            return _interrupted()
        problem = Problem("Not done.", state="Nothing was changed.")
    else:
        said = ended.format_message().rstrip(".")
        problem = UsageProblem(
            said if said.endswith("?") else f"{said}.",
            state="No database was touched.",
            todo="--help, after any command, shows what it takes, with an example.",
        )
    sys.stderr.write(problem_text(problem))
    return problem.exit_code


def _interrupted() -> int:
    problem = Problem(
        "Interrupted.", state=state_of_the_change(), todo="Run it again when you like."
    )
    sys.stderr.write(problem_text(problem))
    return _INTERRUPTED


def _driver_error() -> type[Exception]:
    from psycopg import Error

    return Error


def _lost(error: Exception) -> int:
    from psycopg.errors import ReadOnlySqlTransaction

    from pymilk.database.connection import first_line
    from pymilk.database.read_only import BY_SETTING
    from pymilk.deploy.change.script import NOT_NOW

    kind = TryAgainLater if isinstance(error, NOT_NOW) else Problem
    problem = kind(
        f"The database said: {first_line(error)}",
        state=state_of_the_change(),
        todo=BY_SETTING.todo
        if isinstance(error, ReadOnlySqlTransaction)
        else "See 'pymilk status', then run it again.",
    )
    sys.stderr.write(problem_text(problem))
    return problem.exit_code
