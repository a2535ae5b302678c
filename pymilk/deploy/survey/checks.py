"""The checks themselves, one function each; it gives a sentence when all is well."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from pymilk.database.catalog import Catalog
from pymilk.database.connection import Connection
from pymilk.database.extensions import read_extensions
from pymilk.database.history import Applied
from pymilk.database.ledger import (
    Entry,
    Kind,
    by_version,
    latest,
)
from pymilk.database.read_only import why_read_only
from pymilk.deploy.basis.evidence import Check, Verdict
from pymilk.deploy.basis.lock import (
    NO_SHARED_SESSIONS,
    SHARED_SESSIONS,
    session_of,
    shares_sessions,
)
from pymilk.deploy.basis.notes import said
from pymilk.deploy.basis.plan import Plan
from pymilk.deploy.health.soak import read_soak
from pymilk.deploy.survey.allowed import window_check
from pymilk.deploy.survey.last_schema import LastSchema
from pymilk.deploy.survey.status import was_edited
from pymilk.problem import UsageProblem
from pymilk.project.migrations import (
    Migration,
    refuse_rows_for_psql,
    refuse_what_cannot_be_one_transaction,
    refuse_what_cannot_be_steps,
)

_OLDEST_MAJOR, _NEWEST_MAJOR = 15, 18
_COMMIT_FIRST = "Commit first, so that the ledger can say what was deployed."


@dataclass(frozen=True)
class Look:
    """What the checks look at, read once."""

    connection: Connection
    plan: Plan
    catalog: Catalog
    recorded: LastSchema | None
    history: tuple[Applied, ...]
    entries: tuple[Entry, ...]
    now: datetime
    copy_major: int

    @property
    def migration(self) -> Migration:
        """The migration to be deployed."""
        return self.plan.migration


def _failed(found: str, todo: str) -> Check:
    return Check("", Verdict.FAILED, found, todo)


def _noted(found: str) -> Check:
    return Check("", Verdict.NOTED, found)


def _server(look: Look) -> Check | str:
    major = look.connection.info.server_version // 10000
    if not _OLDEST_MAJOR <= major <= _NEWEST_MAJOR:
        return _failed(
            f"the server is Postgres {major}.",
            f"pymilk is proven on {_OLDEST_MAJOR} to {_NEWEST_MAJOR} only.",
        )
    copy = look.copy_major
    if major != copy:
        return _noted(f"Postgres {major}; the rehearsal runs on {copy}")
    return f"Postgres {major}, as the rehearsal's"


def _role(look: Look) -> Check | str:
    return owner_check(look.connection)


def owner_check(connection: Connection) -> Check | str:
    """Whether we are the database's owner, and no superuser."""
    row = connection.execute(
        "select r.rolname, r.rolsuper, d.datdba = r.oid or pg_has_role(r.oid, d.datdba, 'usage')"
        " from pg_roles as r, pg_database as d"
        " where r.rolname = current_user and d.datname = current_database()"
    ).fetchone()
    name, superuser, owner = row or ("", False, False)
    if superuser:
        return _failed(
            f"{name} is a superuser: what it makes would not belong to the project's owner.",
            "Connect as postgres, the owner, which on Supabase is no superuser.",
        )
    if not owner:
        return _failed(
            f"{name} doesn't own the database.", "Connect as its owner, postgres on Supabase."
        )
    return f"{name}, the owner, no superuser"


def _session(look: Look) -> Check | str:
    return session_check(look.connection, look.plan.target.url)


def session_check(connection: Connection, url: str) -> Check | str:
    """Two open connections must be two server sessions."""
    if shares_sessions(connection, url):
        return _failed(f"{SHARED_SESSIONS}.", NO_SHARED_SESSIONS)
    direct = session_of(connection) == connection.info.backend_pid
    return "one connection, one session" if direct else "a session pooler"


def _writable(look: Look) -> Check | str:
    why = why_read_only(look.connection)
    return _failed(why.found, why.todo) if why else "the database takes writes"


def _history(look: Look) -> Check | str:
    migrations = look.plan.project.migrations
    applied = {row.version for row in look.history}
    known = {migration.version for migration in migrations}
    unknown = sorted(applied - known)
    if unknown:
        return _failed(
            f"the database has applied {', '.join(unknown)}, which is no file here.",
            "Fetch the newest files (git pull), or write the missing one; never delete the row.",
        )
    if not applied and not _was_empty(look.entries):
        return _failed(
            "the database has no migration history.",
            "Run 'pymilk adopt' first: it compares the tables with the baseline and marks it.",
        )
    if look.migration.version in applied:
        return _failed(
            f"{look.migration.label} is applied already.",
            f"Nothing to do; to undo it: pymilk rollback {look.migration.argument}.",
        )
    newest = max(applied, key=int, default="0")
    if int(look.migration.version) < int(newest):
        return _failed(
            f"{look.migration.version} is older than the newest applied one, {newest}.",
            "Give the file a later version: history only grows at its end.",
        )
    first = [
        migration
        for migration in migrations
        if migration.version not in applied and int(migration.version) < int(look.migration.version)
    ]
    if first:
        return _failed(
            f"{', '.join(migration.label for migration in first)} comes first.",
            f"Run: pymilk deploy {first[0].argument}",
        )
    return f"{len(applied)} applied, {look.migration.label} is next"


def _was_empty(entries: tuple[Entry, ...]) -> bool:
    """Whether it had nothing when it was taken into care: then all of it is to be deployed."""
    adopted = latest(entries, Kind.ADOPT)
    return adopted is not None and adopted.version is None


def _files(look: Look) -> Check | str:
    migration = look.migration
    for script in (migration.up, migration.down, migration.verify, migration.give_back):
        if script is not None:
            stepwise = script is migration.up and script.in_steps
            refuse = (
                refuse_what_cannot_be_steps if stepwise else refuse_what_cannot_be_one_transaction
            )
            try:
                refuse_rows_for_psql(script)
                refuse(script)
            except UsageProblem as problem:
                return _failed(problem.happened, problem.todo)
    pairs = (migration.down, migration.verify, migration.give_back)
    return f"one transaction each: {1 + sum(pair is not None for pair in pairs)}"


def _rollback(look: Look) -> Check | str:
    migration = look.migration
    if migration.down is not None:
        return f"rollbacks/{migration.stem}.sql"
    if migration.irreversible is not None:
        return f"irreversible: {migration.irreversible}"
    found = (
        f"there is no rollback, supabase/rollbacks/{migration.stem}.sql: only the backup would"
        " bring back what was."
    )
    if not look.plan.policy.require_rollback:
        return _noted(found)
    return _failed(
        found,
        "Write what undoes it; or say in the migration why nothing can: '-- irreversible: …'.",
    )


def _verification(look: Look) -> Check | str:
    migration = look.migration
    if migration.verify is not None:
        return f"verify/{migration.stem}.sql"
    file = f"supabase/verify/{migration.stem}.sql"
    there = (look.plan.project.root / file).is_file()
    missing = f"{file} has no statement in it" if there else f"there is no verification, {file}"
    found = f"{missing}: only that its statements ran shows that it is in effect."
    if not look.plan.policy.require_verification:
        return _noted(found)
    return _failed(
        found, "Write what shows that it is in effect: a script that raises unless it is."
    )


def _edited(look: Look) -> Check | str:
    files = {migration.version: migration for migration in look.plan.project.migrations}
    events = by_version(look.entries)
    edited = [
        files[row.version].stem
        for row in look.history
        if row.version in files and was_edited(files[row.version], row, events.get(row.version, ()))
    ]
    if edited:
        return _failed(
            f"applied files were edited afterwards: {', '.join(edited)}.",
            "Take the edit back (git checkout) and put the change into a new migration.",
        )
    return "no applied file was edited"


def _others(look: Look) -> Check | str:
    dumps = look.connection.execute(
        "select application_name, pid, backend_start from pg_stat_activity"
        " where datname = current_database() and application_name like 'pg\\_dump%'"
    ).fetchall()
    if dumps:
        name, pid, since = dumps[0]
        return _failed(
            f"{name} is running (process {pid}, since {since:%H:%M:%S} UTC); it holds a lock on"
            " every table until it ends.",
            "Wait until it has ended.",
        )
    return "no dump is running"


def _transactions(look: Look) -> Check | str:
    rows = look.connection.execute(
        """
        select a.pid, a.application_name, a.usename, a.state, a.xact_start, left(a.query, 60)
        from pg_catalog.pg_stat_activity as a
        where
            a.datname = current_database() and a.pid <> pg_backend_pid()
            and a.backend_type = 'client backend'
            and a.xact_start < clock_timestamp() - make_interval(secs => %s)
            and exists (
                select from pg_catalog.pg_locks as l
                inner join pg_catalog.pg_class as c on l.relation = c.oid
                inner join pg_catalog.pg_namespace as n on c.relnamespace = n.oid
                where l.pid = a.pid and l.granted and n.nspname !~ '^pg_'
            )
        order by a.xact_start
        """,
        (look.plan.policy.long_transaction_seconds,),
    ).fetchall()
    if rows:
        pid, application, user, state, since, query = rows[0]
        return _failed(
            f"a transaction has been open since {since:%H:%M:%S} UTC: process {pid}"
            f" ({application or 'no name'}, {user}, {state}): {query}",
            f"Wait until it has ended, or end it: select pg_terminate_backend({pid}).",
        )
    return "no long transaction on the tables"


def _extensions(look: Look) -> Check | str:
    names = [extension.name for extension in read_extensions(look.connection)]
    if not names:
        return "none needed"
    # Which of the two, and what is neither, shows when the copy is made.
    return f"the copy gets them, real or stood in for: {', '.join(names)}"


def _tree(look: Look) -> Check | str:
    revision, todo = look.plan.revision, _COMMIT_FIRST
    if revision.unknown:
        found = f"git doesn't say whether the project is committed: {revision.unknown}"
        todo = "Do what git says there, as the user that pymilk runs as."
    elif revision.commit is None:
        found = "the project isn't in git"
    elif revision.ignored:
        found = f"not committed, for git ignores it: {', '.join(revision.ignored[:4])}"
        todo = f"Take it out of .gitignore, or: git add --force FILE. {_COMMIT_FIRST}"
    elif revision.uncommitted:
        found = f"not committed: {', '.join(revision.uncommitted[:4])}"
    else:
        return f"committed, at {revision.commit[:10]}"
    return _failed(f"{found}.", todo) if look.plan.policy.clean_tree else _noted(found)


def _drift(look: Look) -> Check | str:
    if look.recorded is None:
        return _noted("no recorded schema yet; this deploy records one")
    difference = look.recorded.schema.difference(look.catalog)
    if difference:
        return _failed(
            f"the schema was changed by hand since {look.recorded.recorded_at:%Y-%m-%d %H:%M} UTC:"
            f" {'; '.join(difference.sentences(6))}.",
            "Put the change into a migration, or take it back.",
        )
    return "the schema is the one recorded last"


def _window(look: Look) -> Check | str:
    return window_check(look.plan.policy, look.now, seconds_needed=0)


def _soak(look: Look) -> Check | str:
    live = {row.version for row in look.history}
    soak = read_soak(look.connection, look.entries, live, look.plan.policy, look.now)
    if soak is None:
        return "nothing has to soak"
    name = soak.deploy.name
    if soak.waiting:
        return _failed(
            f"{name} has a complaint that nobody has answered: {said(soak.waiting[0])}",
            f'Look into it, then: pymilk note --answer {soak.waiting[0].id} "what was found".',
        )
    if soak.broken:
        return _failed(
            f"since {name} was deployed something is broken that held before.",
            "See 'pymilk check', mend it or roll back, then look again: pymilk watch --once.",
        )
    how = "watched" if soak.watched else "live"
    if not soak.over:
        todo = f"Wait until {soak.until:%Y-%m-%d %H:%M} UTC."
        if soak.watched:
            todo = f"Watch it: pymilk watch --for {soak.needed:g}h, or --once every few minutes."
        return _failed(
            f"{name} has been {how} for {soak.passed:.1f} of {soak.needed:g} hours.", todo
        )
    return f"{name} has been {how} for {soak.passed:.0f} hours"


Checks = tuple[tuple[str, Callable[[Look], Check | str]], ...]

# What differs from one migration to the next; the rest is asked of the database once.
CHECKS_OF_ITS_FILES: Checks = (
    ("history", _history),
    ("files", _files),
    ("rollback", _rollback),
    ("verification", _verification),
)
CHECKS: Checks = (
    ("server", _server),
    ("role", _role),
    ("session", _session),
    ("writable", _writable),
    *CHECKS_OF_ITS_FILES,
    ("edited", _edited),
    ("others", _others),
    ("transactions", _transactions),
    ("extensions", _extensions),
    ("drift", _drift),
)
CHECKS_BEFORE_A_CHANGE: Checks = (
    ("tree", _tree),
    ("window", _window),
    ("soak", _soak),
)
