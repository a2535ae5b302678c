"""`pymilk restore`: a backup becomes a database again, or a table stands beside the live one."""

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pymilk.cli import options
from pymilk.cli.answers import agree, confirm, done
from pymilk.cli.render import say, say_json
from pymilk.problem import UsageProblem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymilk.database.meter import Meter
    from pymilk.deploy.backup.beside_live import Difference
    from pymilk.deploy.backup.file_test import FileTested
    from pymilk.deploy.backup.restore_over import Comparison
    from pymilk.deploy.backup.restore_tables import BroughtBeside
    from pymilk.deploy.backup.restoring import Reborn
    from pymilk.deploy.basis.plan import CopyAt

_TO_DO = 3
_FEW = 8


@click.command
@options.backup
@click.option(
    "--to",
    metavar="URL",
    help="An empty database to restore into; without it, a new one on the embedded server.",
)
@click.option(
    "--table",
    multiple=True,
    metavar="NAME",
    help="Only this table (may be repeated), in a schema beside the live ones.",
)
@click.option(
    "--over",
    is_flag=True,
    help="With --table: put the rows back into the live table, after a list, a question and a"
    " fresh backup. Rows made since stay.",
)
@options.db_url
@options.project
@options.policy
@options.copy
@options.yes
@options.as_json
def restore(
    *,
    backup: str | None,
    to: str | None,
    table: tuple[str, ...],
    over: bool,
    db_url: str | None,
    project: Path,
    policy: str | None,
    copy: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Restore a backup into a new database, and compare all of it; or bring single tables back.

    A file that others made is loaded on a throw-away server first (--copy says on which kind), and
    restored from there.

    Nothing is restored over what is there, unless --over says so. --db-url names the database whose
    backups are meant; for a whole restore it need not exist any more.

    Example: pymilk restore --to postgresql://postgres:…@db.….supabase.co:5432/postgres

    Example: pymilk restore --table routes

    Example: pymilk restore ~/Downloads/db_cluster-15-09-2025@02-14-07.backup.gz
    """
    if table:
        _tables(backup, tuple(table), to, over, db_url, project, policy, copy, yes, as_json=as_json)
        return
    if over:
        raise UsageProblem(
            "--over is for single tables.",
            state="No database was touched.",
            todo="Name them: --table routes --over. A whole database comes back as a new one.",
        )
    from pymilk.cli.meter import meter_on
    from pymilk.cli.opening import copy_at, files_of, start_embedded
    from pymilk.database.connection import target_at
    from pymilk.database.programs import find_programs
    from pymilk.deploy.backup.restoring import restore_at, restore_on_embedded
    from pymilk.deploy.backup.shelf import find_backup, shelf_of
    from pymilk.project.policy import Preset

    found, target = files_of(project, db_url, policy)
    path = find_backup(shelf_of(found, target), backup)
    meter = meter_on(sys.stderr if as_json else sys.stdout)
    with _as_backup(path, copy_at(found, copy, None), found.make_workspace(), meter) as source:
        folder, tested = source
        if to is None:
            reborn = restore_on_embedded(folder, start_embedded(found), find_programs(), meter)
        else:
            reborn = restore_at(folder, target_at(to, Preset.LIVE), find_programs(), meter)
    if as_json:
        say_json(_facts(reborn, path, tested))
    else:
        say(*_text(reborn, tested))
    if reborn.differences or reborn.left or reborn.lacking or (tested and tested.refused):
        raise click.exceptions.Exit(_TO_DO)


@contextmanager
def _as_backup(
    path: Path, copy: "CopyAt", place: Path, meter: "Meter"
) -> "Iterator[tuple[Path, FileTested | None]]":
    """A folder of ours as it is; of a file that others made, the backup that it becomes."""
    from pymilk.database.dump_file import recognise
    from pymilk.database.manifest import is_backup
    from pymilk.database.programs import find_programs
    from pymilk.deploy.backup.foreign_backup import backup_of_file
    from pymilk.deploy.rehearsal.bench import open_bench

    if is_backup(path):
        yield path, None
        return
    dump, programs = recognise(path), find_programs()
    with (
        open_bench(copy, None, programs.major) as bench,
        backup_of_file(dump, bench, programs, place, meter) as made,
    ):
        yield made.folder, made.tested


def _tables(
    backup: str | None,
    names: tuple[str, ...],
    to: str | None,
    over: bool,
    db_url: str | None,
    project: Path,
    policy: str | None,
    copy: str | None,
    yes: bool,
    *,
    as_json: bool,
) -> None:
    from pymilk.cli.meter import meter_on
    from pymilk.cli.opening import copy_at, open_project
    from pymilk.database.programs import find_programs
    from pymilk.deploy.backup.backup import back_up
    from pymilk.deploy.backup.restore_over import bring_over, compared_with_live
    from pymilk.deploy.backup.restore_tables import bring_beside, wanted_tables
    from pymilk.deploy.backup.shelf import find_backup, shelf_of
    from pymilk.deploy.rehearsal.bench import open_bench

    if to is not None:
        raise UsageProblem(
            "--table brings tables back into the database that --db-url names; --to is for all.",
            state="No database was touched.",
            todo="Leave one of the two out.",
        )
    opened = open_project(project, db_url, policy)
    rules = opened.project.policy(opened.target.preset)
    path = find_backup(shelf_of(opened.project, opened.target), backup)
    if over and backup is None:
        _is_it_this_one(path, names, yes)
    programs, meter = find_programs(), meter_on(sys.stderr if as_json else sys.stdout)
    place, at = opened.project.make_workspace(), copy_at(opened.project, copy, None)
    with (
        _as_backup(path, at, place, meter) as (folder, _),
        open_bench(at, None, programs.major) as bench,
        wanted_tables(folder, names, bench, programs, meter) as wanted,
    ):
        if not over:
            question = f"Put {', '.join(names)} into a schema beside, on {opened.target.label}?"
            agree(rules.ask, yes, question)
            brought = bring_beside(wanted, opened.target, meter)
            say_json(brought) if as_json else say(*beside_text(brought))
            return
        with compared_with_live(wanted, opened.target) as comparison:
            left_out = left_out_text(comparison, path.name)
            if not any(each.gone or each.changed for each in comparison.differences):
                named = {each.table: each.left_out for each in comparison.differences}
                done(as_json, _all_there(left_out), {"over": None, "left_out": named})
                _end_with(left_out)
                return
            (sys.stderr if as_json else sys.stdout).write(over_text(comparison))
            agree(True, yes, f"Put these rows back from {path.name}, on {opened.target.label}?")
            taken = back_up(opened.project, opened.target, programs, meter=meter)
            result = bring_over(comparison, opened.project, rules)
    fresh = taken.backup.folder
    done(
        as_json,
        f"Done. {_all_there(left_out)}\nThe state before: {fresh}",
        {"over": result, "backup_before": fresh},
    )
    _end_with(left_out)


def _all_there(left_out: list[str]) -> str:
    if not left_out:
        return "Every row of the backup is there as it was."
    return "\n".join(("Every row of the backup is there, but not all of its columns.", *left_out))


def _end_with(left_out: list[str]) -> None:
    """What was left out is for a person to see to, also where nobody reads what is said."""
    if left_out:
        raise click.exceptions.Exit(_TO_DO)


def _is_it_this_one(newest: Path, names: tuple[str, ...], yes: bool) -> None:
    """Rows are put over live ones from a backup that a person named, or was asked about.

    The newest may have been taken after the damage.
    """
    tables = " ".join(f"--table {name}" for name in names)
    if yes or not sys.stdin.isatty():
        raise UsageProblem(
            f"--over needs to be told which backup; the newest is {newest.name}.",
            state="Nothing was changed in the database.",
            todo=f"From before the damage? Then: pymilk restore {newest.name} {tables} --over",
        )
    confirm(f"The newest backup is {newest.name} (UTC). Is it the one?")


def beside_text(brought: "BroughtBeside") -> list[str]:
    """What stands beside the live tables now."""
    lines = [f"They are as {brought.moment}, in a schema of their own:"]
    for name, rows in brought.tables.items():
        lines.append(f"  {brought.schema}.{name.partition('.')[2]}: {rows:,} rows, all equal")
    lines += [
        "The live tables were not touched, and the API doesn't see that schema. When you are done:",
        f"  drop schema {brought.schema} cascade",
    ]
    return lines


def over_text(comparison: "Comparison") -> str:
    """What putting the rows back would do."""
    lines = [f"Back to what was there {comparison.moment}:"]
    for each in comparison.differences:
        lines.append(
            f"{each.table}: {each.gone:,} rows come back, {each.changed:,} get the backup's values,"
            f" {each.since:,} that were made since stay"
        )
        lines += [f"  {line}" for line in each.shown]
        rest = each.gone + each.changed - len(each.shown)
        lines += [f"  … and {rest:,} more"] if rest > 0 else []
        lines += _left_out(each)
        if each.gone and each.newer:
            lines.append(f"  not in the backup, so as by default there: {', '.join(each.newer)}")
    return "\n".join(lines) + "\n"


def left_out_text(comparison: "Comparison", backup: str) -> list[str]:
    """Which columns were neither compared nor put back, and how their values can be had."""
    named = [each for each in comparison.differences if each.left_out]
    if not named:
        return []
    tables = " ".join(f"--table {each.table}" for each in named)
    return [
        *(f"{each.table}:{line}" for each in named for line in _left_out(each)),
        f"All columns of the backup, beside the live table: pymilk restore {backup} {tables}",
    ]


def _left_out(each: "Difference") -> list[str]:
    if not each.left_out:
        return []
    return [f"  not compared and not restored: {', '.join(each.left_out)}"]


def _facts(reborn: "Reborn", path: Path, tested: "FileTested | None") -> dict[str, object]:
    return {
        "backup": path,
        "taken_at": reborn.backup.taken_at,
        "into": reborn.label,
        "url": reborn.url or None,
        "tables": len(reborn.backup.contents),
        "rows": reborn.backup.rows,
        "seconds": reborn.seconds,
        "differences": reborn.differences,
        "left": reborn.left,
        "lacking_extensions": reborn.lacking,
        "not_taken": tested.refused if tested else (),
        "not_included": reborn.backup.left_out,
    }


def _text(reborn: "Reborn", tested: "FileTested | None") -> list[str]:
    backup = reborn.backup
    equal = f"{backup.rows:,} rows in {len(backup.contents)} tables, all equal"
    lines = [
        f"Restored into {reborn.label} in {reborn.seconds:.1f} s: {equal}.",
        f"  It is {backup.taken_from} as it was {backup.moment};"
        if tested is None
        else f"  It is the project's part of {backup.taken_from}, taken: {backup.said};",
        "  what was written since is not in it.",
    ]
    if reborn.url:
        lines.append(f"  psql '{reborn.url}'")
    lines += [f"  differs: {sentence}" for sentence in reborn.differences]
    lines += [f"  not allowed to this role: {statement}" for statement in reborn.left]
    lines += [f"  extension not there: {sentence}" for sentence in reborn.lacking]
    refused = tested.refused if tested else ()
    lines += [f"  not taken from the file: {each.words} …: {each.why}" for each in refused[:_FEW]]
    if len(refused) > _FEW:
        lines.append(f"  … and {len(refused) - _FEW} more: pymilk restore-test lists them")
    lines.append("Not in it, so still to do:")
    lines += [f"  {sentence}" for sentence in backup.left_out]
    return lines
