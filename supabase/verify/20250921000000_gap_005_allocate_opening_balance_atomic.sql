-- Shows that gap 005 is in effect.

do $$
begin
  perform from public.customers where opening_balance_paid > opening_balance;
  if not exists (
    select from pg_trigger
    where tgrelid = 'public.sales'::regclass and tgname = 'derive_sale_on_update'
  ) then
    raise exception 'gap 005: the status of sales is not derived';
  end if;
end;
$$;
