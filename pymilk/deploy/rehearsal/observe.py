"""Run a script on the copy, and see after each statement what it locks and what it rewrites.

The copy has the live data's size and nobody else on it: what a statement takes there is what it
would take on the live database, and a lock once taken is held until the commit.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from pymilk.database.catalog import OWN_SCHEMAS
from pymilk.database.connection import Connection
from pymilk.database.platform import read_scans, services_in
from pymilk.deploy.basis.evidence import Blocked, LockHeld, ScriptRun, StatementRun, StatementTime
from pymilk.deploy.change.script import run_script
from pymilk.project.migrations import Script

# From weak to strong; the position in it is the strength. Reading is no lock to speak of.
_LOCK_MODES = (
    "RowShareLock",
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
)
_BLOCKS_WRITERS = _LOCK_MODES.index("ShareLock")
_BLOCKS_EVERYBODY = _LOCK_MODES.index("AccessExclusiveLock")


def observe(connection: Connection, script: Script) -> ScriptRun:
    """Run a script in the caller's transaction, and say what it held and for how long.

    Raises:
        ScriptFailed: A statement failed.
    """
    names, files = _existing_tables(connection)
    held: dict[str, str] = {}
    seen: list[StatementRun] = []
    changes = _row_changes(connection)
    services = services_in(script.text)
    scans = read_scans(connection, services)

    def look(ran: StatementTime) -> None:
        taken, rewritten = {}, []
        for oid, file, modes in _locks_and_files(connection, names):
            strongest = max(modes, key=_strength, default="")
            if _strength(strongest) > _strength(held.get(names[oid], "")):
                taken[names[oid]] = strongest
            if file is not None and file != files[oid]:
                files[oid] = file
                rewritten.append(names[oid])
        held.update(taken)
        now = read_scans(connection, services)
        read = () if ran.words.startswith("alter table ") else _read_by(ran.text, scans, now)
        scans.update(now)
        seen.append(
            StatementRun(ran.line, ran.words, ran.seconds, taken, tuple(rewritten), unproven=read)
        )

    run_script(connection, script, look)
    now = _row_changes(connection)
    changed = {table for table, count in now.items() if count != changes.get(table, 0)}
    return ScriptRun(
        seconds=sum(one.seconds for one in seen),
        statements=tuple(_with_waits(seen, changed)),
        locked=_locked(seen, changed),
        strong_lock_seconds=_strong_lock_seconds(seen),
    )


def _read_by(text: str, before: Mapping[str, int], now: Mapping[str, int]) -> tuple[str, ...]:
    """Tables of the platform's that were read meanwhile, of schemas that the statement names.

    Others were read to check a key, which a copy has.
    """
    named = services_in(text)
    return tuple(
        table
        for table, scans in now.items()
        if scans != before.get(table, 0) and table.partition(".")[0] in named
    )


def followed_by(run: ScriptRun, seconds: float) -> ScriptRun:
    """The same, with something that runs between the script and the commit: its locks stay."""
    return replace(
        run,
        statements=tuple(
            replace(one, held_seconds=one.held_seconds and one.held_seconds + seconds)
            for one in run.statements
        ),
        locked={
            table: replace(held, seconds=held.seconds + seconds)
            for table, held in run.locked.items()
        },
        strong_lock_seconds=run.strong_lock_seconds and run.strong_lock_seconds + seconds,
    )


def _strength(mode: str) -> int:
    return _LOCK_MODES.index(mode) if mode in _LOCK_MODES else -1


def _with_waits(seen: Sequence[StatementRun], changed: Iterable[str]) -> Iterable[StatementRun]:
    """Each statement, with whom its locks keep waiting from its beginning on."""
    for number, one in enumerate(seen):
        found = {_blocks(mode, changes_rows=table in changed) for table, mode in one.locks.items()}
        blocks = max(found, key=list(Blocked).index, default=Blocked.NOBODY)
        held = sum(later.seconds for later in seen[number:])
        yield replace(one, blocks=blocks, held_seconds=0 if blocks is Blocked.NOBODY else held)


def _locked(seen: Sequence[StatementRun], changed: Iterable[str]) -> Mapping[str, LockHeld]:
    """Each table's strongest lock; it is held from the first statement that blocks as many."""
    locked = {}
    for table in sorted({table for one in seen for table in one.locks}):
        steps = [
            (one.locks[table], number) for number, one in enumerate(seen) if table in one.locks
        ]
        strongest = steps[-1][0]  # each step is stronger than the one before
        blocks = _blocks(strongest, changes_rows=table in changed)
        since = next(
            number
            for mode, number in steps
            if _blocks(mode, changes_rows=table in changed) is blocks
        )
        locked[table] = LockHeld(strongest, blocks, sum(one.seconds for one in seen[since:]))
    return locked


def _strong_lock_seconds(seen: Sequence[StatementRun]) -> float:
    for number, one in enumerate(seen):
        if any(_strength(mode) >= _BLOCKS_WRITERS for mode in one.locks.values()):
            return sum(later.seconds for later in seen[number:])
    return 0.0


def _blocks(mode: str, *, changes_rows: bool) -> Blocked:
    strength = _strength(mode)
    if strength >= _BLOCKS_EVERYBODY:
        return Blocked.EVERYBODY
    if strength >= _BLOCKS_WRITERS:
        return Blocked.WRITERS
    return Blocked.ROW_WRITERS if changes_rows else Blocked.NOBODY


def _existing_tables(connection: Connection) -> tuple[Mapping[int, str], dict[int, int]]:
    """Every table that the app could be waiting for, the platform's too: names and files by oid."""
    rows = connection.execute(
        "select c.oid::bigint, n.nspname || '.' || c.relname, c.relfilenode::bigint"
        " from pg_catalog.pg_class as c"
        " inner join pg_catalog.pg_namespace as n on c.relnamespace = n.oid"
        " where c.relkind in ('r', 'p', 'm') and n.nspname !~ '^pg_' and n.nspname <> all(%s)",
        (["information_schema", "supabase_migrations", *OWN_SCHEMAS],),
    ).fetchall()
    return {oid: name for oid, name, _ in rows}, {oid: file for oid, _, file in rows}


def _locks_and_files(
    connection: Connection, names: Mapping[int, str]
) -> Iterable[tuple[int, int | None, list[str]]]:
    """What this transaction holds on each table, also on one that it has dropped."""
    rows = connection.execute(
        """
        with mine as materialized (
            select l.relation, array_agg(l.mode) as modes
            from pg_catalog.pg_locks as l
            where l.pid = pg_backend_pid() and l.locktype = 'relation' and l.granted
            group by l.relation
        )
        select o.oid::bigint, c.relfilenode::bigint, coalesce(m.modes, '{}')
        from unnest(%s::oid[]) as o (oid)
        left join pg_catalog.pg_class as c on c.oid = o.oid
        left join mine as m on m.relation = o.oid
        """,
        (list(names),),
    ).fetchall()
    return ((oid, file, modes) for oid, file, modes in rows)


def _row_changes(connection: Connection) -> Mapping[str, int]:
    """Table → rows that this session has updated or deleted, as Postgres counts them."""
    rows = connection.execute(
        "select schemaname || '.' || relname, n_tup_upd + n_tup_del"
        " from pg_catalog.pg_stat_xact_user_tables"
    ).fetchall()
    return dict(rows)
