-- Puts what follows from payments and invoices into a sale that somebody inserts or updates:
-- whatever the caller says of it is neither an error nor believed.
--
-- A Credit sale is Completed when it is paid, by itself or with its invoice, and Billed while it
-- stands on a live invoice; otherwise the status is the caller's word. The counter only moves
-- inside the triggers of sales_payments, which is why this one runs at trigger depth 0 alone.
--
-- Locks: none but the row's own.

create or replace function private.derive_sale()
returns trigger
language plpgsql
security definer -- an invoker whom row security filters would see no invoice, silently
set search_path = pg_catalog, pg_temp
as $$
declare
  v_bill record;
begin
  if tg_op = 'INSERT' then
    new.amount_paid := 0; -- nothing can point to a sale that is not there yet
    return new;
  end if;

  new.amount_paid := old.amount_paid;

  if new.sale_type <> 'Credit' then
    return new;
  elsif new.amount_paid > 0 and new.amount_paid >= new.total_amount then
    new.payment_status := 'Completed';
    return new;
  end if;

  select bill.paid into v_bill
  from private.bills_of_sales(array[new.id]) as bill;

  if found then
    new.payment_status := case when v_bill.paid then 'Completed' else 'Billed' end;
  end if;

  return new;
end;
$$;

comment on function private.derive_sale() is
'Trigger: puts the true amount_paid, and the payment_status that follows from it.';

revoke all on function private.derive_sale() from public, anon, authenticated, service_role;
