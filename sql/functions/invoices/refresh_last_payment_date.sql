-- After the date of an allocated payment changed: refreshes last_payment_date of its invoices.
--
-- Locks: the payment is held by the update itself; then its invoices by id, `for no key update`.

create or replace function private.refresh_last_payment_date()
returns trigger
language plpgsql
security definer -- an invoker's update that row security filters would change nothing, silently
set search_path = pg_catalog, pg_temp
as $$
declare
  v_invoice_ids uuid[];
begin
  -- lock
  select array_agg(locked.id) into v_invoice_ids
  from (
    select invoice.id
    from public.invoice_metadata as invoice
    where invoice.id in (
      select allocation.invoice_id
      from public.invoice_payments as allocation
      where allocation.payment_id = new.id
    )
    order by invoice.id
    for no key update
  ) as locked;

  -- write
  update public.invoice_metadata as invoice
  set last_payment_date = latest.payment_date
  from (
    select
      allocation.invoice_id,
      max(payment.payment_date) as payment_date
    from public.invoice_payments as allocation
    inner join public.payments as payment on allocation.payment_id = payment.id
    where allocation.invoice_id = any(v_invoice_ids)
    group by allocation.invoice_id
  ) as latest
  where invoice.id = latest.invoice_id
    and invoice.last_payment_date is distinct from latest.payment_date;

  return null;
end;
$$;

comment on function private.refresh_last_payment_date() is
'Trigger: refreshes last_payment_date of the invoices of a payment whose date changed.';

revoke all on function private.refresh_last_payment_date()
from public, anon, authenticated, service_role;
