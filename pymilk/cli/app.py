"""The commands. Each parses, calls one function, and renders what it gives.

What a command needs is imported when it runs, so that `--help` doesn't wait for a database driver.
"""

import io
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING

import typer

from pymilk.cli.answers import agree, done
from pymilk.cli.embedded_commands import db
from pymilk.cli.options import (
    HERE,
    AsJson,
    DbUrl,
    Name,
    Overrides,
    PolicyName,
    ProjectFolder,
    Yes,
)
from pymilk.cli.render import (
    deployed_text,
    plan_text,
    problem_text,
    rolled_back_text,
    say,
    say_json,
    status_text,
)
from pymilk.cli.snapshot_command import snapshot
from pymilk.problem import Problem, TryAgainLater, UsageProblem

if TYPE_CHECKING:
    from pymilk.cli.opening import Opened
    from pymilk.database.connection import Target
    from pymilk.project.migrations import Migration

app = typer.Typer(
    name="pymilk",
    help="The safest way to change a live Supabase database that has no staging.\n\n"
    "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 function files wait for a snapshot (--check),"
    " 75 try again later (nothing is wrong), 130 interrupted."
    " Every failure says in which state the database is.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(db, name="db")

_INTERRUPTED = 130

# The change that is under way, so that an interruption can say what became of it.
_under_way: list["tuple[Target, Migration]"] = []


def run() -> int:
    """Run a command line; gives its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a log that knows only ASCII gets a question mark
    logging.getLogger("psycopg").setLevel(logging.CRITICAL)  # what it says, we say in words
    # Being told to end, or losing the terminal, is an interruption like Ctrl-C: it tidies up.
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)
    try:
        # Typer turns Ctrl-C into this exit code, and gives it back instead of raising it.
        code = app(standalone_mode=False)
        return _interrupted() if code == _INTERRUPTED else int(code or 0)
    except typer.TyperException as error:
        problem = UsageProblem(
            f"{error.format_message().rstrip('.')}.",
            state="No database was touched.",
            todo="--help, after any command, shows what it takes, with an example.",
        )
        sys.stderr.write(problem_text(problem))
        return problem.exit_code
    except Problem as problem:
        sys.stdout.flush()
        sys.stderr.write(problem_text(problem))
        return problem.exit_code
    except typer.Abort:  # a person said no
        sys.stderr.write(problem_text(Problem("Not done.", state="Nothing was changed.")))
        return 1
    except _driver_error() as error:  # evaluated only now, when it matters
        return _lost(error)
    except BrokenPipeError:  # `pymilk status | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


@app.command()
def deploy(
    name: Name = None,
    db_url: DbUrl = None,
    project: ProjectFolder = HERE,
    policy: PolicyName = None,
    override: Overrides = None,
    as_json: AsJson = False,
    yes: Yes = False,
) -> None:
    """Deploy a migration with everything proven; without a name, the oldest pending.

    Example: pymilk deploy 001
    """
    from pymilk.cli.opening import (
        migration_to_deploy,
        nothing_pending,
        open_project,
        parse_overrides,
        plan_for,
    )
    from pymilk.cli.progress import LineProgress
    from pymilk.deploy.pipeline import deploy as run_pipeline

    overrides = parse_overrides(override)
    opened = open_project(project, db_url, policy)
    migration = migration_to_deploy(opened, name)
    if migration is None:
        done(as_json, nothing_pending(opened), {"deployed": None})
        return
    if _already(opened, migration, as_json=as_json):
        return
    plan = plan_for(opened, migration, overrides)
    if not as_json:
        say(*plan_text(plan))
    agree(plan.policy.ask, yes, f"Deploy {migration.label}?")
    _under_way.append((opened.target, migration))
    evidence = run_pipeline(plan, LineProgress(sys.stderr if as_json else None))
    _under_way.clear()
    if evidence is None:
        _already(opened, migration, as_json=as_json)
    elif as_json:
        say_json({"deployed": migration.stem, "evidence": evidence})
    else:
        say(*deployed_text(plan, evidence))


@app.command()
def rollback(
    name: Name = None,
    archive: bool = typer.Option(
        False, "--archive", help="Keep rows that would go; the next deploy gives them back."
    ),
    mended: bool = typer.Option(
        False, "--mended", help="Use the file as it is now, not the text rehearsed at the deploy."
    ),
    db_url: DbUrl = None,
    project: ProjectFolder = HERE,
    policy: PolicyName = None,
    override: Overrides = None,
    as_json: AsJson = False,
    yes: Yes = False,
) -> None:
    """Undo a deployed migration without losing a row; without a name, the newest.

    Example: pymilk rollback 001
    """
    from pymilk.cli.opening import (
        migration_to_roll_back,
        open_project,
        parse_overrides,
        plan_for,
    )
    from pymilk.deploy.rollback import roll_back
    from pymilk.deploy.status import Standing, read_status

    overrides = parse_overrides(override)
    opened = open_project(project, db_url, policy)
    migration = migration_to_roll_back(opened, name)
    row = read_status(opened.target.url, opened.project).find(migration.version)
    if row.standing is Standing.HELD:
        done(
            as_json,
            f"{migration.label} is rolled back already ({row.at:%Y-%m-%d %H:%M} UTC by"
            f" {row.person}); nothing to do.",
            {"rolled_back": migration.stem, "already": True},
        )
        return
    plan = plan_for(opened, migration, overrides)
    agree(plan.policy.ask, yes, f"Roll back {migration.label} on {opened.target.label}?")
    _under_way.append((opened.target, migration))
    result = roll_back(plan, archive=archive, mended=mended)
    _under_way.clear()
    if as_json:
        say_json({"rolled_back": migration.stem, "result": result})
    else:
        say(*rolled_back_text(plan, result))


@app.command()
def rehearse(
    name: Name = None,
    db_url: DbUrl = None,
    project: ProjectFolder = HERE,
    policy: PolicyName = None,
    override: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Back up, restore, and rehearse a migration on the copy; the live data only get read.

    Example: pymilk rehearse 001
    """
    from pymilk.cli.opening import (
        migration_to_deploy,
        nothing_pending,
        open_project,
        parse_overrides,
        plan_for,
    )
    from pymilk.cli.progress import LineProgress
    from pymilk.deploy.pipeline import rehearse as run_rehearsal

    overrides = parse_overrides(override)
    opened = open_project(project, db_url, policy)
    migration = migration_to_deploy(opened, name)
    if migration is None:
        done(as_json, nothing_pending(opened), {"rehearsed": None})
        return
    plan = plan_for(opened, migration, overrides)
    if not as_json:
        say(*plan_text(plan))
    evidence = run_rehearsal(plan, LineProgress(sys.stderr if as_json else None))
    if as_json:
        say_json({"rehearsed": migration.stem, "evidence": evidence})
    else:
        say("", f"{migration.label} is rehearsed: pymilk deploy {migration.argument}")


@app.command()
def status(
    db_url: DbUrl = None,
    project: ProjectFolder = HERE,
    policy: PolicyName = None,
    as_json: AsJson = False,
) -> None:
    """Show what is applied, pending, edited or held, and what runs right now.

    Example: pymilk status --json
    """
    from pymilk.cli.opening import open_project
    from pymilk.deploy.status import read_status

    opened = open_project(project, db_url, policy)
    found = read_status(opened.target.url, opened.project)
    if as_json:
        say_json({"database": opened.target.label, "status": found})
    else:
        say(*status_text(opened.target.label, found))


@app.command()
def verify(
    name: Name = None,
    db_url: DbUrl = None,
    project: ProjectFolder = HERE,
    policy: PolicyName = None,
    as_json: AsJson = False,
) -> None:
    """Run a deployed migration's canary, and undo what it did; without a name, the newest's.

    Example: pymilk verify 001
    """
    from pymilk.cli.opening import migration_to_roll_back, open_project
    from pymilk.deploy.verify import verify_now

    opened = open_project(project, db_url, policy)
    migration = migration_to_roll_back(opened, name)
    seconds = verify_now(opened.target, migration)
    done(
        as_json,
        f"{migration.label} is in effect: its canary passed in {seconds:.2f} s, and left nothing.",
        {"verified": migration.stem, "seconds": seconds},
    )


@app.command()
def adopt(
    db_url: DbUrl = None,
    project: ProjectFolder = HERE,
    policy: PolicyName = None,
    override: Overrides = None,
    as_json: AsJson = False,
    yes: Yes = False,
) -> None:
    """Take a database into care that has tables and no history: compare it, mark the baseline.

    Example: pymilk adopt --db-url postgresql://postgres:…@db.….supabase.co:5432/postgres
    """
    from pymilk.cli.opening import open_project, parse_overrides
    from pymilk.deploy.adopt import adopt as run_adopt

    overrides = parse_overrides(override)
    opened = open_project(project, db_url, policy)
    rules = opened.project.policy(opened.target.preset)
    agree(rules.ask, yes, f"Mark the baseline as applied on {opened.target.label}?")
    _under_way.extend((opened.target, found) for found in opened.project.migrations[:1])
    adopted = run_adopt(opened.project, opened.target, rules, overrides.get("drift"))
    _under_way.clear()
    done(
        as_json,
        f"Adopted: {adopted.objects} objects compared, {adopted.version}_{adopted.name} marked as"
        " applied; no table was touched.",
        {"adopted": adopted},
    )


app.command()(snapshot)


def _already(opened: "Opened", migration: "Migration", *, as_json: bool) -> bool:
    """Whether it is applied already, as the file says it; then there is nothing to do."""
    from pymilk.deploy.status import Standing, read_status

    row = read_status(opened.target.url, opened.project).find(migration.version)
    if row.standing is not Standing.APPLIED:
        return False
    when = f" since {row.at:%Y-%m-%d %H:%M} UTC, by {row.person}" if row.at else ""
    done(
        as_json,
        f"{migration.label} is deployed already{when}; nothing to do."
        f" To undo it: pymilk rollback {migration.argument}",
        {"deployed": migration.stem, "already": True},
    )
    return True


def _interrupted() -> int:
    problem = Problem("Interrupted.", state=_state(), todo="Run it again when you like.")
    sys.stderr.write("\n" + problem_text(problem))
    return _INTERRUPTED


def _driver_error() -> type[Exception]:
    from psycopg import Error

    return Error


def _lost(error: Exception) -> int:
    from pymilk.database.connection import first_line
    from pymilk.deploy.script import NOT_NOW

    kind = TryAgainLater if isinstance(error, NOT_NOW) else Problem
    problem = kind(
        f"The database said: {first_line(error)}",
        state=_state(),
        todo="See 'pymilk status', then run it again.",
    )
    sys.stderr.write(problem_text(problem))
    return problem.exit_code


def _state() -> str:
    """What became of the change that was under way, asked over a new connection."""
    if not _under_way:
        return "Nothing was changed."
    from pymilk.deploy.transaction import standing

    target, migration = _under_way[-1]
    return standing(target, migration.version)
