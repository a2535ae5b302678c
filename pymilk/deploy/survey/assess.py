"""Which way of changing this database is the safe one, and what is still missing for it.

What the database and the repository can tell is read; what only people know is kept under
[tool.pymilk.assess] in pyproject.toml, or named as unanswered.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from psycopg import sql

from pymilk.database.address import address_of
from pymilk.database.catalog import project_schemas
from pymilk.database.connection import Connection, Target, connect
from pymilk.database.contents import read_tables
from pymilk.database.history import read_versions
from pymilk.database.ledger import Entry, Kind, latest, read_entries
from pymilk.problem import UsageProblem
from pymilk.project.migrations import Migration
from pymilk.project.policy import Policy, hours_since
from pymilk.project.project import Project, Revision, revision

QUESTIONS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "hosting": ("What type of Supabase project is it?", ("hosted", "self-hosted", "local")),
    "branching": ("Is Supabase branching enabled?", ("yes", "no")),
    "setup": ("What is the setup?", ("single", "staging-and-production", "several")),
    "data": ("How critical are the data?", ("critical", "important", "replaceable")),
    "platform_backups": ("Which backups does the platform make?", ("daily", "pitr", "none")),
    "staging": ("Is there a separate environment for tests?", ("yes", "limited", "no")),
    "monitoring": ("Does somebody watch errors and complaints?", ("yes", "no")),
}
"""What only people know: key → the question, and what can be answered."""

_A_MONTH = 30 * 24


@dataclass(frozen=True)
class Answer:
    """One question of the questionnaire; no answer where nobody has given one."""

    key: str
    question: str
    answer: str | None
    source: str


@dataclass(frozen=True)
class Measure:
    """One safety measure that is missing, and what to do about it."""

    missing: str
    todo: str


@dataclass(frozen=True)
class Assessment:
    """What was found.

    Attributes:
        answers: The questionnaire.
        strategy: `branch`, `backup + git branch`, or `direct`.
        reason: Why that one.
        risks: Factor → strategy → what it means for this project.
        missing: Measures that are missing, worst first.
    """

    answers: tuple[Answer, ...]
    strategy: str
    reason: str
    risks: Mapping[str, Mapping[str, str]]
    missing: tuple[Measure, ...]


@dataclass(frozen=True)
class _Facts:
    """What the database and the repository tell."""

    hosting: str | None
    rows: int
    tables: int
    size: str
    without_rls: tuple[str, ...]
    anon_definers: tuple[str, ...]
    entries: tuple[Entry, ...]
    pending: tuple[Migration, ...]
    without_rollback: tuple[str, ...]
    revision: Revision
    policy: Policy
    now: datetime


def assess(project: Project, target: Target, policy: Policy, told: Mapping[str, str]) -> Assessment:
    """Read what can be read; changes nothing.

    Args:
        project: Its files.
        target: The database.
        policy: The windows and the soak.
        told: Answers that somebody has just given; they count before those of pyproject.toml.

    Raises:
        UsageProblem: pyproject.toml gives an answer that is none.
        Problem: The database can't be reached.
    """
    known = {**kept_answers(project), **told}
    with connect(target.url, purpose="assess") as connection:
        facts = _read(connection, project, target, policy)
    answers = tuple(_answers(facts, known))
    by_key = {answer.key: answer.answer for answer in answers}
    strategy, reason = _strategy(facts, by_key)
    risks = _risks(facts, by_key)
    return Assessment(answers, strategy, reason, risks, tuple(_missing(facts, by_key)))


def kept_answers(project: Project) -> dict[str, str]:
    """What [tool.pymilk.assess] says.

    Raises:
        UsageProblem: Something there is no question, or no answer to it.
    """
    kept = project.settings.get("assess", {})
    answers = dict(kept) if isinstance(kept, Mapping) else {"assess": kept}
    refuse_no_answers(answers, "pyproject.toml, [tool.pymilk.assess]")
    return {str(key): str(value) for key, value in answers.items()}


def refuse_no_answers(answers: Mapping[str, object], where: str) -> None:
    """Refuse what is no question, or no answer to it.

    Raises:
        UsageProblem: There is such.
    """
    for key, value in answers.items():
        if key not in QUESTIONS or value not in QUESTIONS[key][1]:
            choice = f"one of {', '.join(QUESTIONS[key][1])}" if key in QUESTIONS else "no question"
            raise UsageProblem(
                f"{where}, {key} = {value!r}: it is {choice}.",
                state="No database was touched.",
                todo=f"There are: {', '.join(QUESTIONS)}.",
            )


def _read(connection: Connection, project: Project, target: Target, policy: Policy) -> _Facts:
    schemas = list(project_schemas(connection))
    applied = set(read_versions(connection))
    pending = tuple(each for each in project.migrations if each.version not in applied)
    tables = read_tables(connection, tuple(schemas))
    rows = sum(_count(connection, table.identifier) for table in tables)
    size = connection.execute("select pg_size_pretty(pg_database_size(current_database()))")
    without_rls = connection.execute(
        "select c.oid::regclass::text from pg_class as c where c.relkind in ('r', 'p')"
        " and c.relnamespace = to_regnamespace('public') and not c.relrowsecurity order by 1"
    ).fetchall()
    definers = connection.execute(
        "select p.oid::regprocedure::text from pg_proc as p inner join pg_namespace as n"
        " on p.pronamespace = n.oid where n.nspname = any(%s) and p.prosecdef"
        " and has_function_privilege(to_regrole('anon'), p.oid, 'execute')"
        " and has_schema_privilege(to_regrole('anon'), n.oid, 'usage') order by 1",
        (schemas,),
    ).fetchall()
    return _Facts(
        _hosting(target.url),
        rows,
        len(tables),
        str((size.fetchone() or ("",))[0]),
        tuple(row[0] for row in without_rls),
        tuple(row[0] for row in definers),
        read_entries(connection),
        pending,
        tuple(each.label for each in pending if each.down is None and not each.irreversible),
        revision(project),
        policy,
        datetime.now(UTC),
    )


def _count(connection: Connection, table: sql.Composable) -> int:
    row = connection.execute(sql.SQL("select count(*) from only {}").format(table)).fetchone()
    return int(row[0]) if row else 0


def _hosting(url: str) -> str | None:
    host = address_of(url).host or "/"
    if host.endswith((".supabase.co", ".supabase.com")):
        return "hosted"
    return "local" if host.startswith("/") else None


def _answers(facts: _Facts, known: Mapping[str, str]) -> Iterator[Answer]:
    for key, (question, _) in QUESTIONS.items():
        read = facts.hosting if key == "hosting" else None
        source = "the database's address" if read else "pyproject.toml" if key in known else ""
        yield Answer(key, question, read or known.get(key), source or "unanswered")
    backup, restored = _last(facts, Kind.BACKUP), _last(facts, Kind.RESTORE_TEST)
    ours = {
        "backups": ("Are there backups of our own?", _when(backup) or "none"),
        "restore": ("Has a restore been proven?", _when(restored) or "never"),
        "testing": ("How are changes tested?", _tested(facts)),
        "size": (
            "How much is there?",
            f"{facts.rows:,} rows in {facts.tables} tables, {facts.size}",
        ),
        "window": ("When may changes be made?", _window(facts.policy)),
        "soak": ("How long does each soak?", f"{facts.policy.soak_hours:g} hours"),
        "pending": ("What waits?", f"{len(facts.pending)} migrations"),
    }
    for key, (question, answer) in ours.items():
        yield Answer(key, question, answer, "the database and its ledger")
    commit = facts.revision.commit
    nowhere = facts.revision.unknown or "not in git"
    git = nowhere if commit is None else f"at {commit[:10]}"
    if facts.revision.uncommitted:
        git += f", {len(facts.revision.uncommitted)} files not committed"
    yield Answer("git", "Where do the files stand?", git, "the repository")


def _last(facts: _Facts, kind: Kind) -> Entry | None:
    return latest(facts.entries, kind)


def _when(entry: Entry | None) -> str | None:
    return f"{entry.happened_at:%Y-%m-%d %H:%M} UTC" if entry else None


def _tested(facts: _Facts) -> str:
    rehearsed = _last(facts, Kind.REHEARSAL)
    return f"rehearsed on a copy, last {_when(rehearsed)}" if rehearsed else "never rehearsed yet"


def _window(policy: Policy) -> str:
    if policy.window_start == policy.window_end:
        return "at any time"
    return f"{policy.window_start:%H:%M} to {policy.window_end:%H:%M} {policy.time_zone}"


def _strategy(facts: _Facts, told: Mapping[str, str | None]) -> tuple[str, str]:
    if facts.rows == 0 and told.get("branching") == "yes":
        return "branch", "There are no rows that a branch would lack: prove it there, then merge."
    if told.get("data") == "replaceable":
        return "direct", "The data can be made again, so that a mistake costs only that."
    reason = (
        f"A branch starts empty: it proves nothing about {facts.rows:,} rows, and what people enter"
        " meanwhile would have to be merged. So one change at a time on the live database, each"
        " with a fresh backup, rehearsed on its restored copy, and a rollback that is proven."
    )
    return "backup + git branch", reason


def _risks(facts: _Facts, told: Mapping[str, str | None]) -> Mapping[str, Mapping[str, str]]:
    restored = _last(facts, Kind.RESTORE_TEST) is not None
    rows = f"{facts.rows:,} rows"
    lost = "what the platform's daily backup lacks, up to 24 h"
    lost = {"pitr": "minutes", "none": "everything"}.get(told.get("platform_backups") or "", lost)
    nights = f"{len(facts.pending)} changes, {facts.policy.soak_hours:g} h of soak after each"
    strategies = ("branch", "backup + git branch", "direct")
    table = {
        "business goes on": (
            f"only without {rows}" if facts.rows else "yes",
            "yes: no change waits on customers",
            "yes, until something fails",
        ),
        "data are safe": (
            "untouched, and unproven",
            "restore proven" if restored else "restore NOT proven yet",
            f"at stake: {lost}",
        ),
        "how long it takes": ("merging by hand", nights, "at once"),
        "can be done": ("no" if facts.rows else "yes", "yes", "yes, at that risk"),
    }
    return {factor: dict(zip(strategies, row, strict=True)) for factor, row in table.items()}


def _missing(facts: _Facts, told: Mapping[str, str | None]) -> Iterator[Measure]:
    """Worst first: what loses data, then what can't be undone, then what goes unnoticed."""
    yield from _missing_ways_back(facts, told)
    yield from _missing_rules(facts)
    yield from _open_doors(facts)
    if told.get("monitoring") != "yes":
        yield Measure(
            "nobody is known to watch errors and complaints",
            'pymilk note takes complaints; then monitoring = "yes" in [tool.pymilk.assess]',
        )


def _missing_ways_back(facts: _Facts, told: Mapping[str, str | None]) -> Iterator[Measure]:
    restored = _last(facts, Kind.RESTORE_TEST)
    if restored is None:
        yield Measure("restore never tested", "run pymilk restore-test")
    elif hours_since(restored.happened_at, facts.now) > _A_MONTH:
        yield Measure(f"restore last tested {_when(restored)}", "run pymilk restore-test")
    if _last(facts, Kind.BACKUP) is None:
        yield Measure("no backup of our own", "run pymilk backup")
    if told.get("platform_backups") in {None, "none"}:
        yield Measure(
            "the platform's own backups: none, or not known (PITR?)",
            'look in the dashboard, then platform_backups = "…" in [tool.pymilk.assess]',
        )
    if facts.without_rollback:
        named = ", ".join(facts.without_rollback[:5])
        yield Measure(f"no rollback: {named}", "write supabase/rollbacks/<the same name>.sql")


def _missing_rules(facts: _Facts) -> Iterator[Measure]:
    if latest(facts.entries, Kind.ADOPT, Kind.DEPLOY) is None:
        yield Measure("not in care: its schema was never recorded", "run pymilk adopt")
    if facts.revision.commit is None or facts.revision.uncommitted:
        yield Measure("the files are not all in git", "git add, git commit")
    if facts.policy.window_start == facts.policy.window_end:
        yield Measure("no quiet window", "window_start, window_end in [tool.pymilk.policy.live]")
    if facts.policy.soak_hours == 0:
        yield Measure("nothing soaks", "soak_hours in [tool.pymilk.policy.live]")


def _open_doors(facts: _Facts) -> Iterator[Measure]:
    if facts.anon_definers:
        named = ", ".join(facts.anon_definers[:5])
        yield Measure(
            f"anon may execute {len(facts.anon_definers)} definer functions: {named}",
            "revoke execute on them from public and anon, in a migration",
        )
    if facts.without_rls:
        named = ", ".join(facts.without_rls[:5])
        yield Measure(
            f"{len(facts.without_rls)} tables without row level security: {named}",
            "enable it, with policies, in a migration",
        )
