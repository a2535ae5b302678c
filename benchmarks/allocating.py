"""What the money contract's two hot calls do, and what else writes the same: scripts for clients.

In a script `:n` is the number of the turn; payment and invoices follow from it (ledgers.py).
"""

from collections.abc import Sequence

import ledgers

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


def at_a_distance(statements: Sequence[str]) -> str:
    """The statements with a round trip of 1 ms before each."""
    return "".join(f"{ROUND_TRIP}{statement}" for statement in statements)
