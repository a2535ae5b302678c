"""Everyone takes locks in one order: customer, payments by id, invoices by id, sales by id.

Each row that an action takes is held by somebody else in turn. The action must wait there, holding
everything that comes before and nothing that comes after: an action that holds less reads what may
change under it, and two that hold in different orders end in a deadlock.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

import pytest

from dairy.billing import Billing
from dairy.books import line
from dairy.undoing import roll_back, unallocate, update, void
from support.databases import Database
from support.sessions import wait_until_blocked


class Row(NamedTuple):
    """One row that can be locked."""

    table: str
    id: UUID | str
    key: str = "id"

    def locked(self, books: Billing, how: str = "") -> bool:
        """Lock it; False where it is passed over because somebody else holds it."""
        statement = f"select from public.{self.table} where {self.key} = %s for no key update {how}"
        return books.run(statement, self.id) == 1


def by_id(table: str, *ids: UUID) -> list[Row]:
    """Rows of one table in the order in which they are to be locked."""
    return [Row(table, each) for each in sorted(ids)]


@dataclass(frozen=True)
class Scene:
    """What the actions are about; `high` and `low` say which of two ids is the greater one.

    Attributes:
        customer: With an opening balance of 500, of which `paying` has paid 100.
        new: A payment of 1,000 that pays nothing yet.
        paying: One that pays 100 each of opening balance, `low`, `high` and a sale.
        low: An invoice of 300.
        high: One as well.
        settled: What `paying` settles: its sale, and the one that its invoices bill.
        open: Two Credit sales of 100 that are neither paid nor billed, the greater id first.
        idle: Two invoices without money, of two customers, the greater id first.
        idle_sales: The sale that each of them bills.
        idle_customers: Whose they are.
    """

    customer: UUID
    new: UUID
    paying: UUID
    low: UUID
    high: UUID
    settled: Sequence[UUID]
    open: Sequence[UUID]
    idle: Sequence[UUID]
    idle_sales: Sequence[UUID]
    idle_customers: Sequence[UUID]

    def undoing(self) -> list[Row]:
        """What taking everything off `paying` holds."""
        return [
            Row("customers", self.customer),
            Row("payments", self.paying),
            *by_id("invoice_metadata", self.low, self.high),
            *by_id("sales", *self.settled),
        ]


def scene(books: Billing) -> Scene:
    customer = books.customer(opening_balance=500)
    new, paying = (books.payment(customer, 1000) for _ in range(2))
    low, high = sorted(books.invoice(customer, 300) for _ in range(2))
    paid, billed, *rest = (books.sale(customer, 100) for _ in range(4))
    books.line(low, sale=billed)
    books.allocate(paying, {low: 100, high: 100})
    books.pay_opening(paying, customer, 100)
    books.pay_sales(paying, paid)
    owners = [books.customer() for _ in range(2)]
    idle_sales = [books.sale(owner, 100) for owner in owners]
    idle = {
        books.billed(owner, sale): (owner, sale)
        for owner, sale in zip(owners, idle_sales, strict=True)
    }
    idle_ids = sorted(idle, reverse=True)
    return Scene(
        customer=customer,
        new=new,
        paying=paying,
        low=low,
        high=high,
        settled=[paid, billed],
        open=sorted(rest, reverse=True),
        idle=idle_ids,
        idle_sales=[idle[each][1] for each in idle_ids],
        idle_customers=[idle[each][0] for each in idle_ids],
    )


class Action(NamedTuple):
    """What is done, the rows that it takes in their order, and what has to be before."""

    act: Callable[[Billing, Scene], object]
    takes: Callable[[Scene], list[Row]]
    before: Callable[[Billing, Scene], object] = lambda _books, _at: None


def idle_one(at: Scene) -> list[Row]:
    """What deleting or recovering the first of the idle invoices holds."""
    return [
        Row("customers", at.idle_customers[0]),
        Row("invoice_metadata", at.idle[0]),
        Row("sales", at.idle_sales[0]),
    ]


def insert(table: str, target: str, amount: str) -> Callable[[Billing, UUID, Sequence[UUID]], int]:
    def insert(books: Billing, payment: UUID, targets: Sequence[UUID]) -> int:
        return books.run(
            f"insert into public.{table} (payment_id, {target}, {amount})"
            " select %s, id, 100 from unnest(%s::uuid[]) as id",
            payment,
            list(targets),
        )

    return insert


ACTIONS: dict[str, Action] = {
    "allocate_payment_atomic": Action(
        lambda books, at: books.allocate(at.new, {at.high: 100, at.low: 100}),
        lambda at: [Row("payments", at.new), *by_id("invoice_metadata", at.low, at.high)],
    ),
    "insert into invoice_payments": Action(
        lambda books, at: insert("invoice_payments", "invoice_id", "amount_allocated")(
            books, at.new, [at.high, at.low]
        ),
        lambda at: [Row("payments", at.new), *by_id("invoice_metadata", at.low, at.high)],
    ),
    "allocate_opening_balance_atomic": Action(
        lambda books, at: books.pay_opening(at.new, at.customer, 100),
        lambda at: [Row("customers", at.customer), Row("payments", at.new)],
    ),
    "insert into opening_balance_payments": Action(
        lambda books, at: insert("opening_balance_payments", "customer_id", "amount")(
            books, at.new, [at.customer]
        ),
        lambda at: [Row("customers", at.customer), Row("payments", at.new)],
    ),
    "allocate_payment_to_sales_atomic": Action(
        lambda books, at: books.pay_sales(at.new, *at.open),
        lambda at: [Row("payments", at.new), *by_id("sales", *at.open)],
    ),
    "insert into sales_payments": Action(
        lambda books, at: insert("sales_payments", "sales_id", "amount_allocated")(
            books, at.new, at.open
        ),
        lambda at: [Row("payments", at.new), *by_id("sales", *at.open)],
    ),
    "record_payment_atomic": Action(
        lambda books, at: books.record(
            customer_id=at.customer,
            amount=1000,
            opening_balance=100,
            allocations=[line(at.high, 100), line(at.low, 100)],
            sales=[{"saleId": str(each)} for each in at.open],
        ),
        lambda at: [
            Row("customers", at.customer),
            *by_id("invoice_metadata", at.low, at.high),
            *by_id("sales", *at.open),
        ],
    ),
    "auto_allocate_payment": Action(
        lambda books, at: books.auto(at.new),
        lambda at: [
            Row("customers", at.customer),
            Row("payments", at.new),
            *by_id("invoice_metadata", at.low, at.high),
        ],
    ),
    "update_payment_atomic": Action(
        lambda books, at: update(books, at.paying, None, {at.high: 50}),
        lambda at: at.undoing()[1:],
    ),
    "rollback_partial_allocation": Action(
        lambda books, at: roll_back(books, at.paying),
        Scene.undoing,
    ),
    "unallocate_payment": Action(
        lambda books, at: unallocate(books, at.paying),
        Scene.undoing,
    ),
    "void_payment": Action(
        lambda books, at: void(books, at.paying),
        Scene.undoing,
    ),
    "update of a payment's date": Action(
        lambda books, at: books.run(
            "update public.payments set payment_date = '2025-12-31' where id = %s", at.paying
        ),
        lambda at: [Row("payments", at.paying), *by_id("invoice_metadata", at.low, at.high)],
    ),
    "delete_invoice_safe": Action(
        lambda books, at: books.delete(at.idle[0]),
        idle_one,
    ),
    "delete_bulk_invoices_safe": Action(
        lambda books, at: books.ask(
            "public.delete_bulk_invoices_safe(%s::uuid[], true)", list(at.idle)
        ),
        lambda at: [
            *by_id("customers", *at.idle_customers),
            *by_id("invoice_metadata", *at.idle),
            *by_id("sales", *at.idle_sales),
        ],
    ),
    "recover_invoice": Action(
        lambda books, at: books.recover(at.idle[0]),
        idle_one,
        before=lambda books, at: books.delete(at.idle[0]),
    ),
    "delete_invoice_safe, for good": Action(
        lambda books, at: books.delete(at.idle[0], permanent=True),
        lambda at: [idle_one(at)[0], Row("payments", at.new), *idle_one(at)[1:]],
        before=lambda books, at: books.run(
            "update public.payments set primary_invoice_id = %s where id = %s", at.idle[0], at.new
        ),
    ),
    "delete_invoice_and_revert_sales": Action(
        lambda books, at: books.delete_as_the_app(at.idle[0]),
        idle_one,
    ),
    "generate_invoice_atomic": Action(
        lambda books, at: books.ask(
            "public.generate_invoice_atomic(%s, '2025-08-01', '2025-08-31')", at.customer
        ),
        lambda at: [Row("customers", at.customer), *by_id("sales", *at.open)],
        before=lambda books, at: books.run(
            "update public.sales set sale_date = '2025-08-05' where id = any(%s)", list(at.open)
        ),
    ),
    "insert into invoice_metadata": Action(
        lambda books, at: books.invoice(at.customer, 10),
        lambda at: [Row("customers", at.customer)],
    ),
    "insert into invoice_line_items": Action(
        lambda books, at: books.run(
            "insert into public.invoice_line_items (invoice_id, line_item_type, sale_id)"
            " select invoice, 'manual_sale', sale"
            " from unnest(%s::uuid[], %s::uuid[]) as line (invoice, sale)",
            [at.high, at.low],
            list(at.open),
        ),
        lambda at: [*by_id("invoice_metadata", at.low, at.high), *by_id("sales", *at.open)],
    ),
    "update_invoice_status": Action(
        lambda books, at: books.value("select public.update_invoice_status(%s)", at.low),
        lambda at: [Row("invoice_metadata", at.low)],
    ),
    "insert into unapplied_payments": Action(
        lambda books, at: books.run(
            "insert into public.unapplied_payments (customer_id, payment_id, amount_unapplied)"
            " values (%s, %s, 1000)",
            at.customer,
            at.new,
        ),
        lambda at: [Row("payments", at.new), Row("unapplied_payments", at.new, "payment_id")],
    ),
}


@pytest.mark.parametrize("name", ACTIONS)
def test_it_waits_for_each_row_holding_what_comes_before_and_nothing_after(
    dairy_hardened: Database, name: str
) -> None:
    action = ACTIONS[name]
    somebody, actor, watcher = (Billing(dairy_hardened.connect()) for _ in range(3))
    at = scene(watcher)
    action.before(watcher, at)
    watcher.connection.commit()
    rows = action.takes(at)
    with ThreadPoolExecutor() as pool:
        for place, row in enumerate(rows):
            assert row.locked(somebody)
            acting = pool.submit(action.act, actor, at)
            wait_until_blocked(watcher.connection, actor.connection.info.backend_pid)
            free = [each for each in rows if each.locked(watcher, "skip locked")]
            watcher.connection.rollback()
            somebody.connection.rollback()
            acting.result(timeout=10)
            actor.connection.rollback()
            assert free == rows[place + 1 :], row.table


DIRECT: dict[str, Callable[[Billing, Scene], object]] = {
    "invoice_payments": lambda books, at: books.allocate_directly(at.new, at.low, 100),
    "opening_balance_payments": lambda books, at: books.pay_opening_directly(
        at.new, at.customer, 100
    ),
    "sales_payments": lambda books, at: books.pay_sale_directly(at.new, at.open[0], 100),
}

CALLS: dict[str, Callable[[Billing, Scene], object]] = {
    "invoice_payments": lambda books, at: books.allocate(at.new, {at.low: 100}),
    "opening_balance_payments": lambda books, at: books.pay_opening(at.new, at.customer, 100),
    "sales_payments": lambda books, at: books.pay_sales(at.new, at.open[0]),
}


@pytest.mark.parametrize("table", DIRECT)
def test_a_direct_insert_waits_for_the_payment_before_it_takes_the_key_of_the_pair(
    dairy_hardened: Database, table: str
) -> None:
    """With the key in its hands it would wait for a call that waits for the key."""
    caller, app, watcher = (Billing(dairy_hardened.connect()) for _ in range(3))
    at = scene(watcher)
    watcher.connection.commit()
    with ThreadPoolExecutor() as pool:
        assert Row("customers", at.customer).locked(caller)
        assert Row("payments", at.new).locked(caller)
        acting = pool.submit(DIRECT[table], app, at)
        wait_until_blocked(watcher.connection, app.connection.info.backend_pid)
        CALLS[table](caller, at)
        caller.connection.rollback()
        acting.result(timeout=10)
