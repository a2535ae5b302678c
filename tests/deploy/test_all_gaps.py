"""The toolkit's own job, all of it: every gap deployed, used, rolled back, and deployed again.

Nothing that was done in between is lost, and at no stage is a voided payment or a deleted invoice
alive in the books.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from dairy.books import line, table_rows
from dairy.settling import Settling as Books
from pymilk.database.catalog import read_catalog
from pymilk.database.connection import connect
from pymilk.database.history import record_applied
from pymilk.database.ledger import Event, Kind, record
from pymilk.deploy.basis.plan import Plan
from pymilk.deploy.change.rollback import roll_back
from pymilk.deploy.change.script import run_script
from pymilk.deploy.pipeline import deploy
from pymilk.deploy.survey.adopt import adopt
from support.databases import ROOT, Database
from support.projects import BASELINE, Silent, Toy

Arguments = tuple[object, ...]


@dataclass(frozen=True)
class Call:
    """A function used as the app would: by a key of its own, on rows of its own."""

    function: str
    arguments: Callable[[Books], Arguments]
    keyed: bool = True


def customer_with(books: Books, amount: int, *totals: int) -> tuple[UUID, UUID, list[UUID]]:
    """A customer, a payment of his, and invoices."""
    customer = books.customer(opening_balance=250)
    payment = books.payment(customer, amount)
    return customer, payment, [books.invoice(customer, total) for total in totals]


def allocation(books: Books) -> Arguments:
    _, payment, (one, two) = customer_with(books, 500, 300, 100)
    return payment, json.dumps([line(one, 300), line(two, 50)])


def allocated(books: Books) -> tuple[UUID, UUID]:
    """A payment that pays an invoice."""
    _, payment, (invoice,) = customer_with(books, 500, 300)
    books.allocate(payment, {invoice: 120})
    return payment, invoice


def sale_to_pay(books: Books) -> Arguments:
    customer, payment, _ = customer_with(books, 500)
    return payment, json.dumps([{"saleId": str(books.sale(customer, 40))}])


def opening_balance(books: Books) -> Arguments:
    customer, payment, _ = customer_with(books, 500)
    return payment, customer, 200


def payment_in_one(books: Books) -> Arguments:
    customer, _, (invoice,) = customer_with(books, 1, 90)
    said = {"customer_id": str(customer), "amount": 400, "opening_balance": 250}
    return (json.dumps({**said, "allocations": [line(invoice, 90)]}),)


def deleted(books: Books) -> Arguments:
    _, _, (invoice,) = customer_with(books, 1, 90)
    books.rows("select * from public.delete_invoice_safe(%s)", invoice)
    return (invoice,)


def to_invoice(books: Books) -> Arguments:
    customer = books.customer()
    books.sale(customer, 75)
    days = books.rows("select max(sale_date), max(sale_date) from public.sales")[0]
    return (customer, *days)


def to_invoice_in_bulk(books: Books) -> Arguments:
    customer, *days = to_invoice(books)
    return (*days, [customer])


CALLS = (
    Call("allocate_payment_atomic", allocation),
    Call("unallocate_payment", lambda books: (allocated(books)[0], None, "booked wrongly")),
    Call("void_payment", lambda books: (allocated(books)[0], "cheque returned")),
    Call("rollback_partial_allocation", lambda books: (allocated(books)[0],)),
    Call("update_payment_atomic", lambda books: (allocated(books)[0], 450, None, "a typo")),
    Call("allocate_opening_balance_atomic", opening_balance),
    Call("allocate_payment_to_sales_atomic", sale_to_pay),
    Call("auto_allocate_payment", lambda books: (customer_with(books, 500, 90, 80)[1],)),
    Call("record_payment_atomic", payment_in_one),
    Call("delete_invoice_safe", lambda books: (customer_with(books, 1, 90)[2][0],)),
    Call("delete_invoice_safe", lambda books: (customer_with(books, 1, 90)[2][0], True)),
    Call("recover_invoice", deleted),
    Call("delete_bulk_invoices_safe", lambda books: (customer_with(books, 1, 90, 80)[2],)),
    Call("generate_invoice_atomic", to_invoice),
    Call("generate_bulk_invoices_atomic", to_invoice_in_bulk),
    Call("log_bulk_operation", lambda _: ("generate_invoices", '{"month": 9}'), keyed=False),
)


class Office:
    """Uses what there is, and remembers what it was answered."""

    def __init__(self, database: Database) -> None:
        self.books = Books(database.connect(autocommit=True))
        self.answered: dict[str, tuple[str, Arguments, object]] = {}

    def use(self, stage: str, *, everything: bool) -> None:
        """Call what is there: at each stage what is new, at the end all of it."""
        for number, call in enumerate(CALLS):
            known = any(key.startswith(f"{number} ") for key in self.answered)
            if self.has(call.function) and (everything or number == 0 or not known):
                key, arguments = f"{number} {stage}", call.arguments(self.books)
                self.answered[key] = (call.function, arguments, None)
                self.answered[key] = (call.function, arguments, self.ask(key))

    def has(self, function: str) -> bool:
        return bool(self.books.rows("select from pg_proc where proname = %s", function))

    def ask(self, key: str) -> Any:  # noqa: ANN401 - what JSON gives
        """Ask with a key, for the first time or again."""
        function, arguments, _ = self.answered[key]
        self.books.setting("pymilk.idempotency_key", key)
        try:
            places = ", ".join(["%s"] * len(arguments))
            call = f"select to_jsonb(answer) from public.{function}({places}) as answer"
            return self.books.value(call, *arguments)
        finally:
            self.books.setting("pymilk.idempotency_key", "")

    def everything(self) -> Mapping[str, object]:
        """Every row of every table that is ours or the app's."""
        tables = self.books.rows(
            "select schemaname || '.' || tablename from pg_tables"
            " where schemaname in ('public', 'private')"
        )
        return table_rows(self.books.connection, [name for (name,) in tables])

    def figures(self) -> list[tuple[object, ...]]:
        """Who owes what."""
        return [
            row
            for path in sorted((ROOT / "sql" / "state").glob("*.sql"))
            for row in self.books.connection.execute(path.read_bytes()).fetchall()
        ]

    def dead(self) -> list[UUID]:
        """Payments that were voided and invoices that were deleted."""
        return [
            row[0]
            for row in self.books.rows(
                "select id from public.payments where voided_at is not null"
                " union all select id from public.invoice_metadata where deleted_at is not null"
            )
        ]

    def alive(self, dead: list[UUID]) -> list[tuple[object, ...]]:
        """What of those holds money, takes money, or bills."""
        return self.books.rows(
            "with dead as (select unnest(%s::uuid[]) as id)"
            " select id from public.payments inner join dead using (id)"
            " where amount_applied <> 0 or amount_unapplied <> 0"
            " union all select id from public.invoice_metadata inner join dead using (id)"
            " where invoice_status is distinct from 'cancelled' or amount_paid <> 0"
            " union all select payment_id from public.unapplied_payments inner join dead on"
            " payment_id = dead.id"
            " union all select payment_id from public.invoice_payments inner join dead on"
            " dead.id in (payment_id, invoice_id)",
            dead,
        )


@pytest.fixture
def project(tmp_path: Path) -> Toy:
    """Our own files, in a folder where backups may lie."""
    for folder in ("supabase", "sql"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return Toy(tmp_path)


def fully(plan: Plan) -> None:
    """Deploy with everything proven."""
    evidence = deploy(plan, Silent())
    assert evidence is not None
    assert evidence.applied is not None
    assert evidence.applied.left_in_archive == {}, plan.migration.stem


def quickly(plan: Plan) -> None:
    """Deploy with nothing proven, and record it as a deploy does."""
    migration = plan.migration
    with connect(plan.target.url, purpose="test") as connection, connection.transaction():
        before = read_catalog(connection)
        run_script(connection, migration.up)
        record_applied(connection, migration)
        event = Event(
            Kind.DEPLOY,
            {"rollback_script": migration.down.text if migration.down else None},
            version=migration.version,
            name=migration.name,
            checksum=migration.up.checksum,
            before=before,
            after=read_catalog(connection),
        )
        record(connection, event)


@pytest.mark.long
@pytest.mark.parametrize("first", [quickly, fully], ids=["quick", "full"])
def test_nothing_is_lost_when_all_gaps_go_and_come_again(
    first: Callable[[Plan], None], dairy: Database, project: Toy
) -> None:
    """They had been used at every stage on the way; each call with its key is answered again."""
    plans = adopted(dairy, project)
    office = Office(dairy)
    for plan in plans:
        first(plan)
        office.use(plan.migration.stem, everything=plan is plans[-1])
    used, figures, dead = office.everything(), office.figures(), office.dead()
    assert {call.function for call in CALLS} == {each[0] for each in office.answered.values()}
    assert len(dead) > 3
    for plan in reversed(plans):
        roll_back(plan, archive=True)
        assert office.figures() == figures, plan.migration.stem
        assert office.alive(dead) == [], plan.migration.stem
    for plan in plans:
        fully(plan)
        assert office.alive(dead) == [], plan.migration.stem
    again = office.everything()
    assert {table for table in used if used[table] != again[table]} == set()
    for key, (_, _, answer) in office.answered.items():
        if CALLS[int(key.partition(" ")[0])].keyed:
            assert office.ask(key) == answer, key
    assert office.everything() == again
    office.use("afterwards", everything=True)
    assert office.books.broken() == []


def adopted(dairy: Database, project: Toy) -> list[Plan]:
    """Every migration after the baseline, on a database in care."""
    first, *rest = project.plan(dairy, BASELINE).project.migrations
    plan = project.plan(dairy, first.version)
    adopt(plan.project, plan.target, plan.policy, None)
    return [project.plan(dairy, migration.version) for migration in rest]
