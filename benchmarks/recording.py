"""Scripts for clients that record a payment of 3,000 rupees with three invoices that it pays.

In a script `:n` is the number of the turn; customer and invoices follow from it (ledgers.py). The
payment is new, beside the one that each customer of the ledgers has already.
"""

CALL = """
select * from public.record_payment_atomic(
  ('{"customer_id": "' || md5('customer' || :n)::uuid || '", "amount": 3000,
  "payment_date": "2025-09-10", "payment_method": "UPI", "allocations": [
  {"invoiceId": "' || md5('invoice' || :n * 3)::uuid || '", "amount": 1000},
  {"invoiceId": "' || md5('invoice' || :n * 3 + 1)::uuid || '", "amount": 1000},
  {"invoiceId": "' || md5('invoice' || :n * 3 + 2)::uuid || '", "amount": 1000}]}')::jsonb
);
"""

BARE_WRITES = """
with payment as (
  insert into public.payments (
    customer_id, amount, payment_date, payment_method, allocation_status, amount_applied,
    amount_unapplied
  )
  values (md5('customer' || :n)::uuid, 3000, '2025-09-10', 'UPI', 'fully_applied', 3000, 0)
  returning *
),
entry as (
  insert into public.audit_trail (recorded_by, action, entity, entity_id, became)
  select 'authenticated', 'created', 'payment', payment.id, to_jsonb(payment)
  from payment
),
allocated as (
  insert into public.invoice_payments (invoice_id, payment_id, amount_allocated)
  select md5('invoice' || :n * 3 + i)::uuid, payment.id, 1000
  from payment, generate_series(0, 2) as i
),
invoice as (
  update public.invoice_metadata
  set amount_paid = 1000, amount_outstanding = 0, invoice_status = 'paid',
    last_payment_date = '2025-09-10', updated_at = now()
  where id = any(array[
    md5('invoice' || :n * 3)::uuid, md5('invoice' || :n * 3 + 1)::uuid,
    md5('invoice' || :n * 3 + 2)::uuid
  ])
)
insert into private.allocation_journal (recorded_by, payment_id, invoice_id, amount_change)
select 'authenticated', payment.id, md5('invoice' || :n * 3 + i)::uuid, 1000
from payment, generate_series(0, 2) as i;
"""

APP_SERIES = (
    """
insert into public.payments (
  customer_id, amount, payment_date, payment_method, allocation_status, amount_unapplied
)
values (md5('customer' || :n)::uuid, 3000, '2025-09-10', 'UPI', 'unapplied', 3000)
returning id as payment \\gset
""",
    """
insert into public.unapplied_payments (customer_id, payment_id, amount_unapplied)
values (md5('customer' || :n)::uuid, :payment, 3000);
""",
    """
select * from public.invoice_metadata where customer_id = md5('customer' || :n)::uuid;
""",
    """
insert into public.invoice_payments (invoice_id, payment_id, amount_allocated)
values (md5('invoice' || :n * 3)::uuid, :payment, 1000),
  (md5('invoice' || :n * 3 + 1)::uuid, :payment, 1000),
  (md5('invoice' || :n * 3 + 2)::uuid, :payment, 1000);
""",
    *(
        f"""
update public.invoice_metadata
set amount_paid = 1000, amount_outstanding = 0, invoice_status = 'paid',
  last_payment_date = '2025-09-10', updated_at = now()
where id = md5('invoice' || :n * 3 + {i})::uuid;
"""
        for i in range(3)
    ),
    """
update public.payments
set amount_applied = 3000, amount_unapplied = 0, allocation_status = 'fully_applied',
  updated_at = now()
where id = :payment;
""",
    "delete from public.unapplied_payments where payment_id = :payment;\n",
)
