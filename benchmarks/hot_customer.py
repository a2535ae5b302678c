"""Point 2 of the targets: one customer whom everybody pays for, and one payment of many invoices.

Eight clients put a rupee each, time and again, from eight payments of one customer onto one
invoice. Beside them, eight clients update that invoice's row with a plain UPDATE, no trigger on.
pgbench fails at the first deadlock or refusal, so that a figure says that there was none. With the
disk, each commit waits for it, as on a live server; in memory only the processor is left.

A payment onto 1,000 invoices is one call, beside one statement that writes the same rows with every
trigger off: the first that its session makes, which has functions to compile and plans to make, and
the third.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial

import psycopg

import ledgers
from pgbench import turns_per_second
from side_by_side import Effort, Row, alternate, at_least, at_most
from support.databases import Database

_AS_THE_APP = "-c role=authenticated"
_WITHOUT_TRIGGERS = "-c session_replication_role=replica"

_HOT = """
insert into public.customers (id, billing_name, opening_balance)
values (md5('hot')::uuid, 'Hot', 0);

insert into public.invoice_metadata (
  id, invoice_number, customer_id, invoice_date, period_start, period_end, total_amount,
  invoice_status, due_date
)
values (
  md5('hot')::uuid, 'HOT', md5('hot')::uuid, '2025-04-01', '2025-04-01', '2025-04-30', 9000000,
  'sent', '2099-01-01'
);

insert into public.payments (id, customer_id, amount, payment_date)
select md5('hot' || n)::uuid, md5('hot')::uuid, 1000000, '2025-09-10'
from generate_series(0, 7) as n;
"""

_CALL = """
select * from public.allocate_payment_atomic(
  md5('hot' || :client_id)::uuid,
  ('[{"invoiceId": "' || md5('hot')::uuid || '", "amount": 1}]')::jsonb
);
"""
_PLAIN = """
update public.invoice_metadata
set amount_paid = amount_paid + 1, amount_outstanding = amount_outstanding - 1, updated_at = now()
where id = md5('hot')::uuid;
"""

MANY = 1_000
_CUSTOMERS = 3
MANY_INVOICES = f"""
insert into public.customers (id, billing_name, opening_balance)
select md5('many' || customer)::uuid, 'Many', 0
from generate_series(0, {_CUSTOMERS - 1}) as customer;

insert into public.invoice_metadata (
  id, invoice_number, customer_id, invoice_date, period_start, period_end, total_amount,
  invoice_status, due_date
)
select
  md5('many' || customer || 'of' || n)::uuid, 'MANY-' || customer || '-' || n,
  md5('many' || customer)::uuid, date '1990-01-01' + n, date '1990-01-01' + n,
  date '1990-01-01' + n, {ledgers.TOTAL}, 'sent', '2099-01-01'
from generate_series(0, {_CUSTOMERS - 1}) as customer, generate_series(0, {MANY - 1}) as n;

insert into public.payments (id, customer_id, amount, payment_date)
select
  md5('many' || customer)::uuid, md5('many' || customer)::uuid, {MANY * ledgers.TOTAL}, '2025-09-10'
from generate_series(0, {_CUSTOMERS - 1}) as customer;
"""


def call_many(customer: int) -> str:
    """One call that puts a payment onto the invoices of one of the customers."""
    return f"""
select * from public.allocate_payment_atomic(
  md5('many{customer}')::uuid,
  (
    select jsonb_agg(
      jsonb_build_object('invoiceId', md5('many{customer}of' || n)::uuid, 'amount', 1000)
    )
    from generate_series(0, 999) as n
  )
)
"""


def bare_many(customer: int) -> str:
    """One statement that writes the same rows."""
    return f"""
with line as (
  select md5('many{customer}of' || n)::uuid as invoice_id from generate_series(0, 999) as n
),
allocated as (
  insert into public.invoice_payments (invoice_id, payment_id, amount_allocated)
  select invoice_id, md5('many{customer}')::uuid, 1000 from line
),
invoice as (
  update public.invoice_metadata as invoice
  set amount_paid = 1000, amount_outstanding = 0, invoice_status = 'paid',
    last_payment_date = '2025-09-10', updated_at = now()
  from line
  where invoice.id = line.invoice_id
),
payment as (
  update public.payments
  set amount_applied = 1000000, amount_unapplied = 0, allocation_status = 'fully_applied',
    updated_at = now()
  where id = md5('many{customer}')::uuid
),
mirror as (
  delete from public.unapplied_payments where payment_id = md5('many{customer}')::uuid
)
insert into private.allocation_journal (recorded_by, payment_id, invoice_id, amount_change)
select 'authenticated', md5('many{customer}')::uuid, invoice_id, 1000 from line
"""


def rows(effort: Effort) -> Iterator[Row]:
    """In memory, with the disk, and the payment of many invoices."""
    for where, durable in (("in memory", False), ("with the disk", True)):
        with (
            ledgers.stages(durable=durable) as templates,
            ledgers.ledgers(templates, ledgers.DEPLOYED, 100) as deployed,
        ):
            yield from _hot(deployed, where, effort)
            if not durable:
                yield from _many(deployed, effort)


def _hot(deployed: ledgers.Ledgers, where: str, effort: Effort) -> Iterator[Row]:
    turns = effort.choose(4_000, 160)

    def call() -> float:
        with deployed.fresh(_HOT) as database:
            speed = turns_per_second(database.url, _CALL, turns=turns, options=_AS_THE_APP)
            see_paid(database, turns)
            return speed

    def plain() -> float:
        with deployed.fresh(_HOT) as database:
            return turns_per_second(
                database.superuser_url, _PLAIN, turns=turns, options=_WITHOUT_TRIGGERS
            )

    sides = {"calls onto one invoice": call, "plain updates of its row": plain}
    subject, reference = sides
    found = alternate(sides, rounds=effort.choose(7, 1), unit="/s")
    yield found.ratio(subject, reference, at_least(0.6), name=f"8 clients, one invoice, {where}")


def _many(deployed: ledgers.Ledgers, effort: Effort) -> Iterator[Row]:
    def timed(settings: str, statement: Callable[[int], str], which: int) -> float:
        with (
            deployed.fresh(MANY_INVOICES) as database,
            psycopg.connect(database.superuser_url, autocommit=True) as connection,
        ):
            connection.execute(settings.encode())
            for customer in range(which):
                began = time.perf_counter()
                connection.execute(statement(customer).encode())
                took = time.perf_counter() - began
            see_paid(database, which * MANY * ledgers.TOTAL)
            return took * 1000

    for words, which in (("its session's first", 1), ("its session's third", _CUSTOMERS)):
        sides = {
            "a payment": partial(timed, "set role authenticated", call_many, which),
            "the bare writes": partial(
                timed, "set session_replication_role = replica", bare_many, which
            ),
        }
        subject, reference = sides
        found = alternate(sides, rounds=effort.choose(7, 1), unit="ms")
        name = f"a payment of {MANY:,} invoices, {words}"
        yield found.ratio(subject, reference, at_most(3), name=name)


def see_paid(database: Database, rupees: int) -> None:
    """See that what was measured was done.

    Raises:
        RuntimeError: the invoices hold another sum.
    """
    with psycopg.connect(database.superuser_url) as connection:
        found = connection.execute(
            "select sum(amount_paid) from public.invoice_metadata where amount_paid > 0"
        ).fetchone()
    if found != (rupees,):
        raise RuntimeError(f"{rupees} rupees were to be paid, and {found} are")
