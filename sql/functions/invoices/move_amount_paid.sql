-- Moves the guarded counter invoice_metadata.amount_paid by what changed in invoice_payments, and
-- with it everything that follows from it.
--
-- Checks what spans rows while both sides are locked: more money comes only from payments of the
-- invoice's own customer. 0 <= amount_paid <= total_amount, and that a cancelled invoice takes
-- nothing, are rules of the table (see refuse_row).
--
-- What comes in moves last_payment_date forward; where something comes off, what is left says it.
--
-- p_changes: rupees, one for each pair of payment and invoice, negative when money comes off.
-- Locks: invoices by id, `for no key update`; the payments are held by move_amount_applied.

create or replace function private.move_amount_paid(
  p_payment_ids uuid[],
  p_invoice_ids uuid[],
  p_changes numeric[]
)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_strange_invoice uuid;
  v_strange_payment uuid;
begin
  -- lock: a single one is locked by its update
  if cardinality(p_invoice_ids) > 1 then
    perform
    from public.invoice_metadata as invoice
    where invoice.id = any(p_invoice_ids)
    order by invoice.id
    for no key update;
  end if;

  -- write, and find who pays for somebody else: both sides are held now
  with moved as (
    update public.invoice_metadata as invoice
    set
      amount_paid = invoice.amount_paid + change.amount,
      amount_outstanding = invoice.total_amount - (invoice.amount_paid + change.amount),
      invoice_status = case
        when invoice.invoice_status in ('draft', 'cancelled') then invoice.invoice_status
        when invoice.amount_paid + change.amount >= invoice.total_amount then 'paid'
        when invoice.amount_paid + change.amount > 0 then 'partially_paid'
        when invoice.due_date < public.business_today() then 'overdue'
        else 'sent'
      end,
      last_payment_date = greatest(invoice.last_payment_date, change.paid_on),
      -- the app's own statements set it themselves; a restore keeps what was
      updated_at = case
        when current_setting('pymilk.call_id', true) <> '' then now()
        else invoice.updated_at
      end
    from (
      select
        one.invoice_id,
        sum(one.amount) as amount,
        max(payment.payment_date) as paid_on,
        array_agg(payment.customer_id) filter (where one.amount > 0) as payers
      from unnest(p_payment_ids, p_invoice_ids, p_changes) as one (payment_id, invoice_id, amount)
      left join public.payments as payment on one.payment_id = payment.id
      group by one.invoice_id
    ) as change
    where invoice.id = change.invoice_id
    returning invoice.id, invoice.customer_id <> any(change.payers) as is_strange
  )

  select moved.id into v_strange_invoice
  from moved
  where moved.is_strange
  limit 1;

  if 0 > any(p_changes) then
    update public.invoice_metadata as invoice
    set last_payment_date = (
      select max(payment.payment_date)
      from public.invoice_payments as allocation
      inner join public.payments as payment on allocation.payment_id = payment.id
      where allocation.invoice_id = invoice.id
    )
    where invoice.id = any(p_invoice_ids);
  end if;

  -- check
  if v_strange_invoice is not null then
    select change.payment_id into v_strange_payment
    from unnest(p_payment_ids, p_invoice_ids, p_changes) as change (payment_id, invoice_id, amount)
    inner join public.payments as payment on change.payment_id = payment.id
    inner join public.invoice_metadata as invoice on change.invoice_id = invoice.id
    where change.amount > 0
      and invoice.id = v_strange_invoice
      and invoice.customer_id <> payment.customer_id
    limit 1;

    raise exception using
      errcode = 'check_violation',
      schema = 'public',
      table = 'invoice_payments',
      constraint = 'invoice_payments_same_customer',
      column = 'invoice_id',
      message = 'the payment and the invoice belong to different customers',
      detail = jsonb_build_object(
        'payment_id', v_strange_payment, 'invoice_id', v_strange_invoice
      )::text,
      hint = 'Allocate the payment to an invoice of its own customer.';
  end if;
end;
$$;

comment on function private.move_amount_paid(uuid[], uuid[], numeric[]) is
'Moves invoice_metadata.amount_paid, and what follows from it, by what changed in its allocations.';

revoke all on function private.move_amount_paid(uuid[], uuid[], numeric[])
from public, anon, authenticated, service_role;
