"""Run a script on the copy, and see after each statement what it locks and what it rewrites.

The copy has the live data's size and nobody else on it: what a statement takes there is what it
would take on the live database, and a lock once taken is held until the commit.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event

from pymilk.database.catalog import OWN_SCHEMAS
from pymilk.database.connection import Connection, connect
from pymilk.database.platform import read_scans, services_in
from pymilk.deploy.basis.evidence import Blocked, LockHeld, ScriptRun, StatementRun, StatementTime
from pymilk.deploy.change.script import run_script
from pymilk.deploy.change.steps import run_plain
from pymilk.project.migrations import Script
from pymilk.project.statements import Statement

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

_BETWEEN_LOOKS_SECONDS = 0.005


def observe(connection: Connection, script: Script) -> ScriptRun:
    """Run a script in the caller's transaction, and say what it held and for how long.

    Raises:
        ScriptFailed: A statement failed.
    """
    observer = Observer(connection, script.text)
    run_script(connection, script, observer.look)
    return observer.run()


class Observer:
    """What one transaction locks and rewrites, seen after each of its statements."""

    def __init__(self, connection: Connection, text: str) -> None:
        """Begin to look.

        Args:
            connection: In the transaction, before its first statement.
            text: All that will run in it.
        """
        self._connection = connection
        self._names, self._files = _existing_tables(connection)
        self._held: dict[str, str] = {}
        self._seen: list[StatementRun] = []
        self._changes = _row_changes(connection)
        self._services = services_in(text)
        self._scans = read_scans(connection, self._services)

    def look(self, ran: StatementTime) -> None:
        """Note what the statement that has just run took and wrote anew."""
        taken, rewritten = {}, []
        for oid, file, modes in _locks_and_files(self._connection, self._names):
            name, strongest = self._names[oid], max(modes, key=_strength, default="")
            if _strength(strongest) > _strength(self._held.get(name, "")):
                taken[name] = strongest
            if file is not None and file != self._files[oid]:
                self._files[oid] = file
                rewritten.append(name)
        self._held.update(taken)
        now = read_scans(self._connection, self._services)
        read: tuple[str, ...] = ()
        if not ran.words.startswith("alter table "):
            read = _read_by(ran.text, self._scans, now)
        self._scans = now
        self._seen.append(
            StatementRun(ran.line, ran.words, ran.seconds, taken, tuple(rewritten), unproven=read)
        )

    def run(self) -> ScriptRun:
        """All that was seen, up to now."""
        now = _row_changes(self._connection)
        changed = {table for table, count in now.items() if count != self._changes.get(table, 0)}
        return ScriptRun(
            seconds=sum(one.seconds for one in self._seen),
            statements=tuple(_with_waits(self._seen, changed)),
            locked=_locked(self._seen, changed),
            strong_lock_seconds=_strong_lock_seconds(self._seen),
        )


def in_turn(runs: Sequence[ScriptRun]) -> ScriptRun:
    """Transactions one after the other: each lets go of its locks before the next begins.

    Of each table the strongest lock is told, and the longest time for which any of them keeps
    somebody waiting there.
    """
    locked: dict[str, LockHeld] = {}
    for run in runs:
        for table, held in run.locked.items():
            known = locked.setdefault(table, held)
            strongest = max(
                known, held, key=lambda one: (list(Blocked).index(one.blocks), _strength(one.mode))
            )
            blocking = [one.seconds for one in (known, held) if one.blocks is not Blocked.NOBODY]
            locked[table] = replace(strongest, seconds=max(blocking, default=held.seconds))
    return ScriptRun(
        seconds=sum(run.seconds for run in runs),
        statements=tuple(one for run in runs for one in run.statements),
        locked=dict(sorted(locked.items())),
        strong_lock_seconds=max((run.strong_lock_seconds for run in runs), default=0.0),
    )


def observe_outside(
    connection: Connection, url: str, script: Script, statement: Statement
) -> ScriptRun:
    """Run a statement that can't be in a transaction, and say what it held and for how long.

    Its own session can't be asked meanwhile: another one looks on. A lock that is held for less
    than the time between two looks is not seen.

    Args:
        connection: To the copy, outside of any transaction.
        url: Of the same database, for the other session.
        script: Where the statement stands.
        statement: What to run.

    Raises:
        ScriptFailed: It failed.
    """
    names, files = _existing_tables(connection)
    ended = Event()
    with connect(url, purpose="rehearsal") as onlooker, ThreadPoolExecutor(1) as pool:
        looking = pool.submit(_look_on, onlooker, connection.info.backend_pid, ended)
        started = time.perf_counter()
        try:
            run_plain(connection, script, statement)
        finally:
            ended.set()
        stopped = time.perf_counter()
        seen = looking.result()
    locked = {
        names[oid]: LockHeld(mode, _blocks(mode, changes_rows=False), stopped - since)
        for oid, (mode, since) in seen.items()
        if oid in names
    }
    now = _existing_tables(connection)[1]
    keeping = [one for one in locked.values() if one.blocks is not Blocked.NOBODY]
    worst = max((one.blocks for one in keeping), key=list(Blocked).index, default=Blocked.NOBODY)
    held_seconds = max((one.seconds for one in keeping), default=0.0)
    run = StatementRun(
        statement.line,
        statement.beginning,
        stopped - started,
        {table: one.mode for table, one in locked.items()},
        tuple(names[oid] for oid, file in files.items() if now.get(oid, file) != file),
        blocks=worst,
        held_seconds=held_seconds,
    )
    return ScriptRun(run.seconds, (run,), locked, held_seconds)


def _look_on(onlooker: Connection, pid: int, ended: Event) -> Mapping[int, tuple[str, float]]:
    """Each relation's strongest lock of a session, and since when it has been seen."""
    seen: dict[int, tuple[str, float]] = {}
    while True:
        rows = onlooker.execute(
            "select relation::bigint, mode from pg_catalog.pg_locks"
            " where pid = %s and locktype = 'relation' and granted",
            (pid,),
        ).fetchall()
        for oid, mode in rows:
            if _strength(mode) > _strength(seen.get(oid, ("", 0.0))[0]):
                seen[oid] = (mode, time.perf_counter())
        if ended.wait(_BETWEEN_LOOKS_SECONDS):
            return seen


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
