-- What a customer owes, from the counters that every write of money moves: opening balance less
-- what is paid of it, plus what is outstanding on live, issued invoices. Credit is not deducted:
-- outstanding_breakdown tells it apart. Dates play no part: what is booked counts.
--
-- Refusals: PT400 customer_required; PT404 customer_not_found, who once owed nothing.
-- Locks: none. It reads one snapshot.

create or replace function public.calculate_customer_outstanding(customer_uuid uuid)
returns numeric
language plpgsql
stable
security definer -- to whom row security hides invoices, the customer would seem to owe less
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning takes longer than looking
as $$
declare
  v_outstanding numeric;
begin
  -- check
  if customer_uuid is null then
    raise exception using
      errcode = 'PT400',
      message = 'customer_required',
      detail = jsonb_build_object('customer_id', null)::text,
      hint = 'Name the customer by id.';
  end if;

  select
    coalesce(customer.opening_balance, 0) - customer.opening_balance_paid + (
      select coalesce(sum(invoice.amount_outstanding), 0)
      from public.invoice_metadata as invoice
      where invoice.customer_id = customer.id
        and invoice.invoice_status in ('sent', 'paid', 'partially_paid', 'overdue')
        and invoice.deleted_at is null
    )
  into v_outstanding
  from public.customers as customer
  where customer.id = customer_uuid;

  if not found then
    raise exception using
      errcode = 'PT404',
      message = 'customer_not_found',
      detail = jsonb_build_object('customer_id', customer_uuid)::text,
      hint = 'The customer does not exist; reload the list of customers.';
  end if;

  -- return
  return v_outstanding;
end;
$$;

comment on function public.calculate_customer_outstanding(uuid) is
'What a customer owes in rupees, credit not deducted; an unknown customer is refused.

never null: returns';

revoke all on function public.calculate_customer_outstanding(uuid)
from public, anon, authenticated, service_role;
grant execute on function public.calculate_customer_outstanding(uuid)
to authenticated, service_role;
