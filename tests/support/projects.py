"""A toy project: a shop of three tables and one gap, small enough to vary in every test.

Its migration does a little of everything: a table, a column, functions, a trigger, grants.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import psycopg
import pytest

from pymilk.database.catalog import read_catalog
from pymilk.database.cluster import SUPERUSER
from pymilk.database.connection import Target, connect
from pymilk.database.embedded import EmbeddedServer, scratch
from pymilk.database.history import prepare_history, record_applied
from pymilk.database.ledger import Event, Kind, prepare_ledger, record
from pymilk.database.programs import find_programs
from pymilk.deploy.basis.evidence import Evidence
from pymilk.deploy.basis.plan import Backend, Bench, CopyAt, Plan
from pymilk.deploy.pipeline import deploy
from pymilk.project.migrations import find_migration
from pymilk.project.policy import Preset, read_policy
from pymilk.project.project import load_project, revision
from support.databases import Database

BASELINE = "20250901000000_baseline"
GAP = "20250917000000_gap_001_pay_bill"

BASELINE_SQL = """
create table public.customers (
  id integer primary key,
  name text not null,
  opening numeric not null default 0
);
create table public.bills (
  id integer generated always as identity primary key,
  customer_id integer not null references public.customers (id),
  amount numeric not null,
  paid numeric not null default 0,
  note json
);
create index bills_by_customer on public.bills (customer_id);
create table public.notes (id integer primary key, body text);
create table public.marks (word text);
alter table public.bills enable row level security;
create policy staff on public.bills for all to authenticated using (true) with check (true);

create function public.owed(p_customer integer) returns numeric
language sql stable
as $$
  select coalesce(sum(b.amount - b.paid), 0) from public.bills as b
  where b.customer_id = p_customer;
$$;
comment on function public.owed is 'What a customer owes; the live app calls it.';
"""

ROWS_SQL = """
insert into public.customers (id, name, opening)
values (1, 'Asha', 0), (2, 'Bela', 10.50), (3, 'Chitra', 99);
insert into public.bills (customer_id, amount, paid, note)
values (1, 100, 0, '{"a": 1}'), (1, 50, 20, null), (2, 75.25, 0, 'null'), (3, 10, 0, '[]');
insert into public.notes (id, body) values (1, 'first'), (2, ''), (3, null);
insert into public.marks (word) values ('twice'), ('twice');
"""

UP_SQL = """\
-- Pay a bill in one call.
create table public.receipts (
  id bigint generated always as identity primary key,
  bill_id integer not null references public.bills (id),
  amount numeric not null check (amount > 0)
);
alter table public.bills add column settled_by text;

create function public.pay_bill(p_bill integer, p_amount numeric) returns numeric
language plpgsql
as $$
begin
  insert into public.receipts (bill_id, amount) values (p_bill, p_amount);
  update public.bills set paid = paid + p_amount, settled_by = 'app' where id = p_bill;
  return p_amount;
end;
$$;
revoke all on function public.pay_bill(integer, numeric) from public, anon;
grant execute on function public.pay_bill(integer, numeric) to authenticated, service_role;

create function public.refuse_overpayment() returns trigger
language plpgsql
as $$
begin
  if new.paid > new.amount then
    raise exception using errcode = 'PT409', message = 'overpaid';
  end if;
  return new;
end;
$$;
create trigger refuse_overpayment before update of paid on public.bills
for each row execute function public.refuse_overpayment();
create or replace function public.owed(p_customer integer) returns numeric
language sql stable
as $$
  select coalesce(sum(b.amount) - sum(b.paid), 0) from public.bills as b
  where b.customer_id = p_customer;
$$;
"""

DOWN_SQL = """\
create or replace function public.owed(p_customer integer) returns numeric
language sql stable
as $$
  select coalesce(sum(b.amount - b.paid), 0) from public.bills as b
  where b.customer_id = p_customer;
$$;
drop trigger refuse_overpayment on public.bills;
drop function public.refuse_overpayment();
drop function public.pay_bill(integer, numeric);
alter table public.bills drop column settled_by;
drop table public.receipts;
"""

VERIFY_SQL = """\
do $$
begin
  if public.pay_bill((select min(b.id) from public.bills as b), 1) <> 1 then
    raise exception 'pay_bill is not in effect';
  end if;
end;
$$;
set local role authenticated;
select public.owed(1);
"""

OVERPAID_SQL = "select b.id, b.amount, b.paid from public.bills as b where b.paid > b.amount;\n"
OWED_SQL = "select c.id, public.owed(c.id), c.opening from public.customers as c order by c.id;\n"

_numbers = count(1)


@dataclass(frozen=True)
class Toy:
    """The toy project on disk; each of its files can be written anew.

    Attributes:
        root: Where it is.
        copy: Where its migrations are rehearsed.
    """

    root: Path
    copy: CopyAt = field(default_factory=CopyAt)

    def write(self, folder: str, name: str, text: str | None) -> None:
        """Write `folder/name.sql`; none removes it."""
        path = self.root / folder / f"{name}.sql"
        path.parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            path.unlink(missing_ok=True)
        else:
            path.write_text(text, encoding="utf-8")

    def up(self, text: str | None, *, stem: str = GAP) -> None:
        """Write the gap's migration, or another's."""
        self.write("supabase/migrations", stem, text)

    def down(self, text: str | None, *, stem: str = GAP) -> None:
        """Write the gap's rollback, or another's."""
        self.write("supabase/rollbacks", stem, text)

    def verify(self, text: str | None, *, stem: str = GAP) -> None:
        """Write the gap's verification, or another's."""
        self.write("supabase/verify", stem, text)

    def gap(self, up: str, down: str | None, verify: str | None = "select 1;") -> None:
        """Write all three at once."""
        self.up(up)
        self.down(down)
        self.verify(verify)

    def gap_at(self, stem: str) -> None:
        """Write another migration, with its pairs, that changes nothing."""
        for write in (self.up, self.down, self.verify):
            write("select 1;", stem=stem)

    def settings(self, text: str) -> None:
        """Write pyproject.toml."""
        (self.root / "pyproject.toml").write_text(text, encoding="utf-8")

    def plan(
        self,
        database: Database | str,
        name: str = "001",
        *,
        preset: Preset = Preset.LOCAL,
        overrides: Mapping[str, str] | None = None,
        policy: Mapping[str, object] | None = None,
    ) -> Plan:
        """What the command line makes of it; `policy` says over the preset's."""
        project = load_project(self.root)
        return Plan(
            project=project,
            migration=find_migration(project.migrations, name),
            target=Target(database if isinstance(database, str) else database.url, preset),
            policy=read_policy(preset, {**asdict(project.policy(preset)), **(policy or {})}),
            programs=find_programs(),
            revision=revision(project),
            overrides=overrides or {},
            copy=self.copy,
        )


def write_toy(root: Path) -> Toy:
    """The toy project as it is when nothing is wrong with it."""
    toy = Toy(root)
    toy.up(BASELINE_SQL, stem=BASELINE)
    toy.gap(UP_SQL, DOWN_SQL, VERIFY_SQL)
    toy.write("sql/invariants", "overpaid", OVERPAID_SQL)
    toy.write("sql/state", "owed", OWED_SQL)
    return toy


def mark_baseline(url: str, toy: Toy) -> None:
    """Make the toy's tables, rows and history, as a database that pymilk has adopted."""
    baseline = load_project(toy.root).migrations[0]
    with connect(url, purpose="test") as connection, connection.transaction():
        connection.execute(BASELINE_SQL)
        connection.execute(ROWS_SQL)
        prepare_history(connection)
        prepare_ledger(connection)
        record_applied(connection, baseline)
        adopted = Event(
            Kind.ADOPT,
            {},
            version=baseline.version,
            name=baseline.name,
            checksum=baseline.up.checksum,
            after=read_catalog(connection),
        )
        record(connection, adopted)


@contextmanager
def copy_of(source: Database) -> Iterator[Database]:
    """A clone of a database that nobody is connected to, dropped when the block ends."""
    name = f"{source.name}_{next(_numbers)}"
    copy = Database(name, source.server)
    source.server.administer(
        "create database {} template {} owner postgres strategy file_copy",
        name,
        source.name,
    )
    try:
        with copy.lent() as clone:
            yield clone
    finally:
        source.server.drop(name)


def closed_window() -> dict[str, object]:
    """A window that opens in six hours, for one."""
    opens = datetime.now(UTC) + timedelta(hours=6)
    closes = opens + timedelta(hours=1)
    return {"window_start": opens.time(), "window_end": closes.time(), "time_zone": "UTC"}


class Silent:
    """Progress that nobody watches; it remembers the steps."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def started(self, step: str) -> None:
        """Remember it."""
        self.steps.append(step)

    def finished(self, step: str, seconds: float, evidence: Evidence) -> None:
        """Nothing is shown."""

    def stopped(self, step: str) -> None:
        """Nothing is shown."""


def deploy_toy(plan: Plan) -> Evidence:
    """Deploy for real; gives the evidence."""
    evidence = deploy(plan, Silent())
    assert evidence is not None
    return evidence


def schema_and_rows(database: Database) -> Mapping[str, object]:
    """All there is to compare quickly: definitions and rows of the project's own tables."""
    return schema_and_rows_at(database.url)


def schema_and_rows_at(url: str) -> Mapping[str, object]:
    """The same, by its URL."""
    tables = ("customers", "bills", "notes", "marks")
    history = "select version from supabase_migrations.schema_migrations order by 1"
    with psycopg.connect(url, autocommit=True) as connection:
        rows = {
            table: connection.execute(
                f"select t::text from public.{table} as t order by 1"
            ).fetchall()
            for table in tables
        }
        return {
            "objects": dict(read_catalog(connection).objects),
            "history": connection.execute(history).fetchall(),
            **rows,
        }


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    """The toy project, to be varied."""
    return write_toy(tmp_path / "project")


@pytest.fixture(scope="session")
def scratch_server() -> Iterator[EmbeddedServer]:
    """One server for everything that is thrown away, beside the one that the tests run on."""
    with scratch() as server:
        yield server


@pytest.fixture(scope="session")
def bench(scratch_server: EmbeddedServer) -> Bench:
    """Its database for the single steps; each restore replaces what is in it."""
    superuser = scratch_server.url(user=SUPERUSER)
    return Bench(scratch_server.url(), superuser, find_programs().major, "embedded")


@pytest.fixture(scope="session")
def set_aside(scratch_server: EmbeddedServer) -> CopyAt:
    """A database of its own for whole rehearsals, which is emptied before and after each."""
    with psycopg.connect(scratch_server.url(user=SUPERUSER), autocommit=True) as session:
        session.execute("create database set_aside template template0")
    return CopyAt(Backend.URL, scratch_server.url("set_aside", SUPERUSER))
