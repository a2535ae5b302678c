-- After any change of invoice_line_items: the Credit sales on the lines are Billed (Completed when
-- their invoice is paid), and Pending again when no live invoice has them any more.
--
-- A sale that was paid by itself is refused on a live invoice: its customer would pay it twice. The
-- sale's lock settles who comes first, the line or the payment. A line that says it was made earlier
-- than now comes from a `--data-only` restore, and so does the status of its sale.
--
-- Locks: sales by id, `for no key update`.

create or replace function private.bill_listed_sales()
returns trigger
language plpgsql
security definer -- an invoker's update that row security filters would change nothing, silently
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning each array anew took half of a call's time
as $$
declare
  v_sale_ids uuid[];
  v_freed uuid[];
  v_offence uuid;
begin
  if tg_op = 'INSERT' then
    select array_agg(distinct added.sale_id) into v_sale_ids
    from new_rows as added
    where added.sale_id is not null and added.created_at is not distinct from now();
  elsif tg_op = 'DELETE' then
    -- lines of a cancelled invoice billed nothing; those of an invoice that is gone did
    select array_agg(distinct gone.sale_id) into v_freed
    from old_rows as gone
    left join public.invoice_metadata as invoice on gone.invoice_id = invoice.id
    where gone.sale_id is not null and invoice.invoice_status is distinct from 'cancelled';
  else
    select
      array_agg(distinct added.sale_id) filter (where added.sale_id is not null),
      array_agg(distinct gone.sale_id) filter (
        where gone.sale_id is not null and invoice.invoice_status is distinct from 'cancelled'
      )
    into v_sale_ids, v_freed
    from new_rows as added
    inner join old_rows as gone on added.id = gone.id
    left join public.invoice_metadata as invoice on gone.invoice_id = invoice.id
    where (added.sale_id, added.invoice_id) is distinct from (gone.sale_id, gone.invoice_id);
  end if;

  if v_sale_ids is null and v_freed is null then
    return null;
  end if;

  -- lock
  perform
  from public.sales as sale
  where sale.id = any(v_sale_ids || v_freed)
  order by sale.id
  for no key update;

  -- check
  select sale.id into v_offence
  from public.sales as sale
  inner join private.bills_of_sales(v_sale_ids) as bill on sale.id = bill.sale_id
  where sale.amount_paid > 0
  order by sale.id
  limit 1;

  if found then
    raise exception using
      errcode = 'check_violation',
      schema = 'public',
      table = 'invoice_line_items',
      constraint = 'invoice_line_items_sale_unpaid',
      column = 'sale_id',
      message = 'a sale that was paid by itself cannot be billed',
      detail = jsonb_build_object('sale_id', v_offence)::text,
      hint = 'Leave the sale off the invoice, or take its payment off first.';
  end if;

  -- write
  update public.sales as sale
  set payment_status = derived.status, updated_at = now()
  from (
    select
      named.id,
      case
        when bill.paid then 'Completed'
        when bill.sale_id is not null then 'Billed'
        else 'Pending'
      end as status
    from unnest(v_sale_ids || v_freed) as named (id)
    left join private.bills_of_sales(v_sale_ids || v_freed) as bill on named.id = bill.sale_id
    where bill.sale_id is not null or named.id = any(v_freed)
  ) as derived
  where sale.id = derived.id
    and sale.sale_type = 'Credit'
    and sale.amount_paid = 0
    and sale.payment_status <> derived.status;

  return null;
end;
$$;

comment on function private.bill_listed_sales() is
'Trigger: bills the sales on the lines of an invoice, and frees those that are on none any more.';

revoke all on function private.bill_listed_sales() from public, anon, authenticated, service_role;
