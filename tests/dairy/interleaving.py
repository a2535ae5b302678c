"""Two calls on the same books, one inside the other: what is called, and what came of it."""

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic, sleep
from typing import NamedTuple

import psycopg

from dairy.books import Books
from dairy.opening import clean
from dairy.steps import LOOK
from support.databases import Connection

CUSTOMER = "00000001-0000-4000-8000-00000000000c"
PAYMENT, OTHER = "00000002-0000-4000-8000-00000000000a", "00000002-0000-4000-8000-00000000000b"
OPEN, HELD, BY_HAND, GONE = (f"00000003-0000-4000-8000-00000000000{end}" for end in "1234")
SALE, BILLED = "00000004-0000-4000-8000-000000000001", "00000004-0000-4000-8000-000000000002"
DELIVERY = "00000005-0000-4000-8000-000000000001"

BOOKS = f"""
insert into public.customers (id, billing_name, opening_balance, billing_cycle_day)
values ('{CUSTOMER}', 'A customer', 500, 5);
insert into public.payments (id, customer_id, amount, payment_date, amount_unapplied)
values ('{PAYMENT}', '{CUSTOMER}', 800, '2025-09-10', 800),
  ('{OTHER}', '{CUSTOMER}', 300, '2025-09-11', 300);
insert into public.invoice_metadata (
  id, customer_id, invoice_date, period_start, period_end, total_amount, due_date, invoice_status
)
values
  ('{OPEN}', '{CUSTOMER}', '2023-02-01', '2023-01-01', '2023-01-31', 1000, '2999-01-01', 'sent'),
  ('{HELD}', '{CUSTOMER}', '2023-03-01', '2023-02-01', '2023-02-28', 400, '2999-01-02', 'sent'),
  ('{BY_HAND}', '{CUSTOMER}', '2023-04-01', '2023-03-01', '2023-03-31', 300, '2999-01-03', 'sent'),
  ('{GONE}', '{CUSTOMER}', '2024-02-01', '2024-01-01', '2024-01-31', 60, '2999-01-04', 'sent');
insert into public.sales (
  id, customer_id, product_id, quantity, unit_price, total_amount, sale_type, sale_date,
  payment_status
)
select sale.id::uuid, '{CUSTOMER}', product.id, 1, 120, 120, 'Credit', '2022-05-10', 'Pending'
from (values ('{SALE}'), ('{BILLED}')) as sale (id),
  (select id from public.products order by code limit 1) as product;
insert into public.deliveries (
  id, customer_id, product_id, route_id, order_date, actual_quantity, unit_price, total_amount,
  delivery_status
)
select '{DELIVERY}', '{CUSTOMER}', product.id, route.id, '2024-01-15', 1, 60, 60, 'delivered'
from (select id from public.products order by code limit 1) as product,
  (select id from public.routes order by name limit 1) as route;
insert into public.invoice_line_items (invoice_id, line_item_type, sale_id, delivery_id, line_total)
values ('{OPEN}', 'manual_sale', '{BILLED}', null, 120),
  ('{OPEN}', 'adjustment', null, null, 880),
  ('{GONE}', 'subscription', null, '{DELIVERY}', 60);
select public.delete_invoice_safe('{GONE}');
select public.allocate_payment_atomic('{PAYMENT}', '[{{"invoiceId": "{HELD}", "amount": 100}}]');
insert into public.invoice_payments (payment_id, invoice_id, amount_allocated)
values ('{PAYMENT}', '{BY_HAND}', 50);
"""
"""A customer with something for every function to do."""


class Call(NamedTuple):
    """A call, by the role that may make it; of the function that it is named by, if no other."""

    statement: str
    role: str = "authenticated"
    function: str = ""


CALLS: Mapping[str, Call] = {
    "allocate_payment_atomic": Call(
        f"""'{PAYMENT}', '[{{"invoiceId": "{OPEN}", "amount": 300}}]'"""
    ),
    "rollback_partial_allocation": Call(f"'{PAYMENT}'"),
    "unallocate_payment": Call(f"'{PAYMENT}', null, 'a reason'"),
    "void_payment": Call(f"'{PAYMENT}', 'a reason'"),
    "update_payment_atomic": Call(
        f"""'{PAYMENT}', 700, '[{{"invoiceId": "{OPEN}", "amount": 200}}]', 'a reason'"""
    ),
    "allocate_opening_balance_atomic": Call(f"'{PAYMENT}', '{CUSTOMER}', 300"),
    "allocate_payment_to_sales_atomic": Call(f"""'{PAYMENT}', '[{{"saleId": "{SALE}"}}]'"""),
    "record_payment_atomic": Call(
        f"""'{{"customer_id": "{CUSTOMER}", "amount": 1300, "opening_balance": 300,
        "allocations": [{{"invoiceId": "{OPEN}", "amount": 800}}],
        "sales": [{{"saleId": "{SALE}"}}]}}'"""
    ),
    "auto_allocate_payment": Call(f"'{PAYMENT}'"),
    "delete_invoice_safe": Call(f"'{OPEN}'"),
    "recover_invoice": Call(f"'{GONE}'"),
    "generate_invoice_atomic": Call(f"'{CUSTOMER}', '2024-01-01', '2024-01-31'"),
    "generate_bulk_invoices_atomic": Call(f"'2024-01-01', '2024-01-31', '{{{CUSTOMER}}}'"),
    "delete_bulk_invoices_safe": Call(f"'{{{OPEN}}}'", "service_role"),
    "fix_unapplied_payments_inconsistencies": Call("false", "service_role"),
}
"""Each function that moves money or invoices, with arguments about the same few things."""


def _lines(*named: tuple[str, int]) -> str:
    """Allocations in the order given."""
    return ", ".join(
        f'{{"invoiceId": "{invoice}", "amount": {amount}}}' for invoice, amount in named
    )


UP = _lines((OPEN, 10), (HELD, 20), (BY_HAND, 30))
DOWN = _lines((BY_HAND, 30), (HELD, 20), (OPEN, 10))

OPPOSING: Mapping[str, Call] = {
    "allocate one payment, invoices up": Call(
        f"'{PAYMENT}', '[{UP}]'", function="allocate_payment_atomic"
    ),
    "allocate another, invoices down": Call(
        f"'{OTHER}', '[{DOWN}]'", function="allocate_payment_atomic"
    ),
    "record a payment, invoices down": Call(
        f"""'{{"customer_id": "{CUSTOMER}", "amount": 500, "opening_balance": 100,
        "allocations": [{DOWN}], "sales": [{{"saleId": "{SALE}"}}]}}'""",
        function="record_payment_atomic",
    ),
    "replace what one paid, invoices up": Call(
        f"'{PAYMENT}', 700, '[{UP}]', 'a reason'", function="update_payment_atomic"
    ),
    "take one off, invoices down": Call(
        f"'{PAYMENT}', '{{{BY_HAND},{HELD}}}', 'a reason'", function="unallocate_payment"
    ),
    "allocate another, oldest first": Call(f"'{OTHER}'", function="auto_allocate_payment"),
    "void one": Call(f"'{PAYMENT}', 'a reason'", function="void_payment"),
    "delete invoices, down": Call(
        f"'{{{BY_HAND},{HELD},{OPEN}}}', false", "service_role", "delete_bulk_invoices_safe"
    ),
}
"""Calls about several payments and invoices at once, named in opposite orders."""

KNOWN = {**CALLS, **OPPOSING}

UNDONE = "undone"
REPAIR = "fix_unapplied_payments_inconsistencies"

Pair = tuple[str, str]


class Met(NamedTuple):
    """What the second call did while the first was open, and how both came out."""

    meanwhile: str
    first: str
    second: str
    books: tuple[str, ...]


@dataclass(frozen=True)
class Meeting:
    """Sessions of both roles for either side, and somebody who watches."""

    superuser: Connection
    watcher: Books
    firsts: Mapping[str, Connection]
    seconds: Mapping[str, Connection]
    pool: ThreadPoolExecutor
    written: list[str]

    def prepare(self, pair: Pair) -> None:
        """The books as they are before each meeting."""
        clean(self.superuser, self.written)
        self.watcher.connection.execute(BOOKS.encode())
        if REPAIR in pair:
            self.superuser.execute("set session_replication_role = replica")
            self.superuser.execute(
                "update public.unapplied_payments set amount_unapplied = 1 where payment_id = %s",
                [OTHER],
            )
            self.superuser.execute("set session_replication_role = origin")

    def call(self, sessions: Mapping[str, Connection], name: str) -> str:
        """Call it; ok, or why not."""
        call = KNOWN[name]
        function = call.function or name
        try:
            sessions[call.role].execute(
                f"select * from public.{function}({call.statement})".encode()
            )
        except psycopg.DatabaseError as error:
            state = error.diag.sqlstate or "lost"
            return f"{state.removeprefix('PT')} {error.diag.message_primary}"
        return "ok"

    def books(self) -> tuple[str, ...]:
        """The books as they stand; what calls made has no name, since its id is new each time."""
        row = self.watcher.connection.execute(LOOK).fetchone()
        assert row is not None
        lines = [
            f"{part} {key} {value}"
            for part, found in row[0].items()
            for key, value in (found or {}).items()
        ]
        return tuple(
            sorted(
                re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", _known, line) for line in lines
            )
        )

    def one_after_the_other(self, pair: Pair, order: Sequence[int]) -> Met:
        """The calls of the pair, by their places, in this order; one left out was undone."""
        self.prepare(pair)
        said = {place: self.call(self.seconds, pair[place]) for place in order}
        return Met("", said.get(0, UNDONE), said.get(1, UNDONE), self.books())

    def one_inside_the_other(self, pair: Pair, ending: str) -> Met:
        """The second call while the first one's transaction is open, which then ends so."""
        first, second = pair
        self.prepare(pair)
        opened = self.firsts[KNOWN[first].role]
        opened.execute("begin")
        said = self.call(self.firsts, first)
        waiting = self.pool.submit(self.call, self.seconds, second)
        meanwhile = self.meanwhile(waiting, self.seconds[KNOWN[second].role])
        opened.execute(ending)
        answer = waiting.result(timeout=20)
        return Met(meanwhile, UNDONE if ending == "rollback" else said, answer, self.books())

    def meanwhile(self, call: Future[str], session: Connection) -> str:
        """Whether the call waits for somebody or goes on to its end."""
        deadline = monotonic() + 20
        while monotonic() < deadline:
            if call.done():
                return "goes on"
            if self.watcher.value(
                "select cardinality(pg_blocking_pids(%s)) > 0", session.info.backend_pid
            ):
                return "waits"
            sleep(0.001)
        raise AssertionError("neither done nor seen waiting within 20 s")


def _known(found: re.Match[str]) -> str:
    return found[0] if found[0][8:14] == "-0000-" else "new"
