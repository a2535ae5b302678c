-- A deleted invoice is cancelled until it is recovered.
-- do: report a defect; only recover_invoice brings an invoice back.
with absent as (
  select null::timestamptz as deleted_at
)

select
  'invoice' as entity,
  invoice.id::text as entity_id,
  'cancelled' as expected,
  coalesce(invoice.invoice_status, 'null') as found
from absent
cross join public.invoice_metadata as invoice
-- the column comes with gap 006; before it, absent's is meant
cross join lateral (select deleted_at from (select invoice.*) as whole) as deletion -- noqa: RF02,ST05
where
  deletion.deleted_at is not null
  and invoice.invoice_status is distinct from 'cancelled';
