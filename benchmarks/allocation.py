"""Point 1 of the targets: a payment is allocated, by eight clients, each on customers of its own.

The subject is `allocate_payment_atomic` as the app's role calls it. Its references:

bare writes      one prepared statement that writes the same rows (the journal's too) into the same
                 tables, as a superuser, with every trigger off, foreign keys included
the app's        what the app issues without the gaps, on the schema as it was: it looks at the
                 payment and at the invoices, then writes each row, a round trip each

pgbench drives them over the server's socket, so that no driver is measured. The round trip of 1 ms
is a client that waits for 1 ms before each statement: for statements that commit by themselves, a
network does the same (it is no transaction's time), and a proxy on the same two cores would take
the processor from whoever sends more. The server doesn't wait for the disk: its processor time is
what is compared; with the disk both sides wait for the same commit.
"""

from collections.abc import Iterator, Mapping

import psycopg

import ledgers
from pgbench import turns_per_second
from side_by_side import Effort, Row, Side, alternate, at_least
from support.databases import Database

AS_THE_APP = "-c role=authenticated"
WITHOUT_TRIGGERS = "-c session_replication_role=replica"
ROUND_TRIP = "\\sleep 1000 us\n"

_LINES = """
select * from public.allocate_payment_atomic(
  md5('payment' || :n)::uuid,
  ('[' || {lines} || ']')::jsonb
);
"""
_LINE = """'{{"invoiceId": "' || md5('invoice' || :n * 3 + {i})::uuid || '", "amount": 1000}}'"""

_BARE = """
with allocated as (
  insert into public.invoice_payments (invoice_id, payment_id, amount_allocated)
  values {pairs}
),
invoice as (
  update public.invoice_metadata
  set amount_paid = 1000, amount_outstanding = 0, invoice_status = 'paid',
    last_payment_date = '2025-09-10', updated_at = now()
  where id = any(array[{invoices}])
),
payment as (
  update public.payments
  set amount_applied = {applied}, amount_unapplied = 3000 - {applied},
    allocation_status = '{status}', updated_at = now()
  where id = md5('payment' || :n)::uuid
),
mirror as ({mirror})
insert into private.allocation_journal (recorded_by, payment_id, invoice_id, amount_change)
values {journal};
"""
_PAIR = "(md5('invoice' || :n * 3 + {i})::uuid, md5('payment' || :n)::uuid, 1000)"
_JOURNAL = (
    "('authenticated', md5('payment' || :n)::uuid, md5('invoice' || :n * 3 + {i})::uuid, 1000)"
)
_INVOICE = "md5('invoice' || :n * 3 + {i})::uuid"
_LESS_LEFT = """
  update public.unapplied_payments set amount_unapplied = 3000 - {applied}
  where payment_id = md5('payment' || :n)::uuid
"""
_NOTHING_LEFT = """
  delete from public.unapplied_payments where payment_id = md5('payment' || :n)::uuid
"""

_APP_LOOKS = (
    "select * from public.payments where id = md5('payment' || :n)::uuid",
    "select * from public.invoice_metadata where id = any(array[{invoices}])",
)
_APP_INSERT = """
insert into public.invoice_payments (invoice_id, payment_id, amount_allocated) values {pairs}
"""
_APP_INVOICE = """
update public.invoice_metadata
set amount_paid = 1000, amount_outstanding = 0, invoice_status = 'paid',
  last_payment_date = '2025-09-10', updated_at = now()
where id = md5('invoice' || :n * 3 + {i})::uuid
"""
_APP_PAYMENT = """
update public.payments
set amount_applied = {applied}, amount_unapplied = 3000 - {applied},
  allocation_status = '{status}', updated_at = now()
where id = md5('payment' || :n)::uuid
"""


def rows(effort: Effort) -> Iterator[Row]:
    """One invoice a payment, and three."""
    turns = effort.choose(16_000, 400)
    with (
        ledgers.stages() as templates,
        ledgers.ledgers(templates, ledgers.DEPLOYED, turns) as deployed,
        ledgers.ledgers(templates, ledgers.BEFORE, turns) as before,
    ):
        for lines in (1, 3):
            yield from _rows(deployed, before, lines, turns, effort)


def _rows(
    deployed: ledgers.Ledgers, before: ledgers.Ledgers, lines: int, turns: int, effort: Effort
) -> Iterator[Row]:
    def side(where: ledgers.Ledgers, script: str, options: str, *, superuser: bool = False) -> Side:
        def run() -> float:
            with where.fresh() as database:
                url = database.superuser_url if superuser else database.url
                speed = turns_per_second(url, script, turns=turns, options=options)
                _see_that_it_was_done(database, turns, lines)
                return speed

        return run

    far = at_a_distance(app_series(lines))
    sides: Mapping[str, Side] = {
        "call": side(deployed, call(lines), AS_THE_APP),
        "bare writes": side(deployed, bare_writes(lines), WITHOUT_TRIGGERS, superuser=True),
        "the app's statements": side(before, "".join(app_series(lines)), AS_THE_APP),
        "call at 1 ms": side(deployed, at_a_distance([call(lines)]), AS_THE_APP),
        "the app's statements at 1 ms": side(before, far, AS_THE_APP),
    }
    found = alternate(sides, rounds=effort.choose(7, 1), unit="/s")
    what = f"allocate_payment_atomic, {lines} invoice{'s' if lines > 1 else ''}"
    yield found.ratio("call", "bare writes", at_least(0.7), name=what)
    yield found.ratio("call", "the app's statements", at_least(1.5), name=what)
    yield found.ratio(
        "call at 1 ms", "the app's statements at 1 ms", at_least(4), name=f"{what}, 1 ms"
    )


def call(lines: int) -> str:
    """The call that pays this many invoices of a payment, 1,000 rupees each."""
    return _LINES.format(lines=" || ', ' || ".join(_LINE.format(i=i) for i in range(lines)))


def bare_writes(lines: int) -> str:
    """The rows that the call writes, in one statement."""
    applied = lines * ledgers.TOTAL
    whole = lines == ledgers.INVOICES

    def each(text: str) -> str:
        return ", ".join(text.format(i=i) for i in range(lines))

    return _BARE.format(
        pairs=each(_PAIR),
        invoices=each(_INVOICE),
        journal=each(_JOURNAL),
        applied=applied,
        status="fully_applied" if whole else "partially_applied",
        mirror=_NOTHING_LEFT if whole else _LESS_LEFT.format(applied=applied),
    )


def app_series(lines: int) -> list[str]:
    """The app's statements for the same, each of them a transaction."""
    applied = lines * ledgers.TOTAL
    whole = lines == ledgers.INVOICES

    def each(text: str) -> str:
        return ", ".join(text.format(i=i) for i in range(lines))

    statements = [
        *(look.format(invoices=each(_INVOICE)) for look in _APP_LOOKS),
        _APP_INSERT.format(pairs=each(_PAIR)),
        *(_APP_INVOICE.format(i=i) for i in range(lines)),
        _APP_PAYMENT.format(
            applied=applied, status="fully_applied" if whole else "partially_applied"
        ),
        _NOTHING_LEFT if whole else _LESS_LEFT.format(applied=applied),
    ]
    return [f"{statement.strip()};\n" for statement in statements]


def at_a_distance(statements: list[str]) -> str:
    """The statements with a round trip of 1 ms before each."""
    return "".join(f"{ROUND_TRIP}{statement}" for statement in statements)


def _see_that_it_was_done(database: Database, turns: int, lines: int) -> None:
    with psycopg.connect(database.superuser_url) as connection:
        found = connection.execute(
            "select (select count(*) from public.invoice_payments),"
            " (select count(*) from public.payments where amount_applied = %s),"
            " (select count(*) from public.invoice_metadata where invoice_status = 'paid')",
            [lines * ledgers.TOTAL],
        ).fetchone()
    if found != (turns * lines, turns, turns * lines):
        raise RuntimeError(f"{turns} turns of {lines} lines have left {found}")
