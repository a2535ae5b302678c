-- After any change of invoice_line_items: lines of live invoices bill their sales and deliveries,
-- those of cancelled ones bill nothing, and what a line stopped billing is free again.
--
-- `bills` follows from the line's invoice, whatever the caller says. A unique index holds that
-- nobody else bills the same; everything is done for the statement as a whole, since a month of
-- all customers is one statement. What the database itself writes into lines is settled where it
-- writes: the trigger of updates leaves that out.
--
-- A direct write is asked more (take_deliveries, keep_line_totals, keep_lines_whole,
-- keep_settled_sales); the calls see to it themselves. It also makes another version of the invoice
-- that it adds lines to, so that a session which cannot see the lines, its snapshot being older, cannot
-- pay or cancel that (40001). A line that is given an invoice, a sale or an amount later is asked the
-- same, as it became: what it was called before says nothing, since its id may be another one by now.
-- Lines that say they were made earlier than now, and are not written by a role of the API, come from a
-- restore of the rows alone: what they bill was billed so.
--
-- Locks: the invoices by id, then deliveries and sales by id, `for no key update`.

create or replace function private.bill_listed_sales()
returns trigger
language plpgsql
security definer -- an invoker's update that row security filters would change nothing, silently
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning each array anew took half of a call's time
as $$
declare
  v_direct constant boolean := coalesce(current_setting('pymilk.call_id', true), '') = '';
  v_invoice_ids uuid[];
  v_line_ids uuid[];
  v_direct_ids uuid[]; -- lines
  v_restored boolean := false;
  v_whole_ids uuid[]; -- invoices whose lines have to add up
  v_any_idle boolean;
  v_freed_by uuid[];
  v_freed_sale_ids uuid[];
  v_freed_delivery_ids uuid[];
  v_taken_by uuid[];
  v_sale_ids uuid[];
  v_delivering_by uuid[];
  v_delivery_ids uuid[];
begin
  if tg_op = 'INSERT' then
    select
      array_agg(distinct added.invoice_id),
      array_agg(added.id) filter (where not added.bills or added.invoice_id is null),
      array_agg(added.invoice_id) filter (where added.sale_id is not null),
      array_agg(added.sale_id) filter (where added.sale_id is not null),
      array_agg(added.id) filter (where v_direct)
    into v_invoice_ids, v_line_ids, v_taken_by, v_sale_ids, v_direct_ids
    from new_rows as added;

    if v_direct then
      select
        current_setting('role', true) not in ('anon', 'authenticated', 'service_role')
        and bool_and(added.created_at is distinct from now())
      into v_restored
      from new_rows as added;
    end if;
  elsif tg_op = 'DELETE' then
    select array_agg(distinct gone.invoice_id) into v_whole_ids
    from old_rows as gone
    where v_direct;

    select array_agg(gone.invoice_id), array_agg(gone.sale_id), array_agg(gone.delivery_id)
    into v_freed_by, v_freed_sale_ids, v_freed_delivery_ids
    from old_rows as gone
    where gone.bills and (gone.sale_id is not null or gone.delivery_id is not null);
  else
    select array_agg(was.invoice_id), array_agg(was.sale_id), array_agg(was.delivery_id)
    into v_freed_by, v_freed_sale_ids, v_freed_delivery_ids
    from (
      select id, invoice_id, sale_id, delivery_id, bills from old_rows
      except
      select id, invoice_id, sale_id, delivery_id, bills from new_rows
    ) as was
    where was.bills;

    select array_agg(became.id), array_agg(became.invoice_id)
    into v_line_ids, v_invoice_ids
    from (
      select id, invoice_id, sale_id, delivery_id from new_rows
      except
      select id, invoice_id, sale_id, delivery_id from old_rows
    ) as became;

    select array_agg(distinct was.invoice_id) into v_whole_ids
    from (
      select id, invoice_id, sale_id, delivery_id, line_total from old_rows
      except
      select id, invoice_id, sale_id, delivery_id, line_total from new_rows
    ) as was
    where v_direct;

    select array_agg(became.id) into v_direct_ids
    from (
      select id, invoice_id, sale_id, delivery_id, line_total from new_rows
      except
      select id, invoice_id, sale_id, delivery_id, line_total from old_rows
    ) as became
    where v_direct;
  end if;

  -- lock
  if v_invoice_ids is not null then
    select bool_or(locked.invoice_status = 'cancelled') into v_any_idle
    from (
      select invoice.invoice_status
      from public.invoice_metadata as invoice
      where invoice.id = any(v_invoice_ids)
      order by invoice.id
      for no key update
    ) as locked;
  end if;

  -- check and write
  if v_any_idle and tg_op = 'INSERT' then
    select array_agg(added.id) into v_line_ids
    from new_rows as added;
  end if;

  if v_line_ids is not null then
    update public.invoice_line_items as line
    set bills = not line.bills
    from public.invoice_line_items as same
    left join public.invoice_metadata as invoice on same.invoice_id = invoice.id
    where line.id = any(v_line_ids)
      and same.id = line.id
      and line.bills
      <> (invoice.id is not null and invoice.invoice_status is distinct from 'cancelled');
  end if;

  if v_direct_ids is not null then
    select array_agg(line.invoice_id), array_agg(line.delivery_id)
    into v_delivering_by, v_delivery_ids
    from public.invoice_line_items as line
    where line.id = any(v_direct_ids) and line.bills and line.delivery_id is not null;

    if v_delivery_ids is not null then
      perform private.take_deliveries(v_delivering_by, v_delivery_ids);
    end if;
  end if;

  if v_direct_ids is not null then
    update public.invoice_metadata as invoice
    set updated_at = invoice.updated_at
    where invoice.id = any(v_invoice_ids);

    -- An app that writes line after line is in the middle of it until they add up; what is whole
    -- stays so, and what money was paid for grows no further. A deleted one gets nothing: recovered, it
    -- would be issued as it is by then.
    -- The lines of an update that were the invoice's already have it looked at anyway.
    select v_whole_ids || array_agg(invoice.id) into v_whole_ids
    from (
      select item.invoice_id, count(*) as number, coalesce(sum(item.line_total), 0) as total
      from public.invoice_line_items as item
      where item.id = any(v_direct_ids)
      group by item.invoice_id
    ) as added
    inner join public.invoice_metadata as invoice on added.invoice_id = invoice.id
    cross join lateral (
      select count(*) as number, coalesce(sum(item.line_total), 0) as total
      from public.invoice_line_items as item
      where item.invoice_id = invoice.id
    ) as line
    where (line.number > added.number and line.total - added.total = invoice.total_amount)
      or (invoice.amount_paid > 0 and line.total > invoice.total_amount)
      or (invoice.deleted_at is not null and not v_restored);
  end if;

  if v_whole_ids is not null then
    perform private.keep_lines_whole(v_whole_ids);
  end if;

  if v_freed_by is not null then
    perform private.free_billed(v_freed_by, v_freed_sale_ids, v_freed_delivery_ids);
  end if;

  if v_line_ids is not null then
    select array_agg(line.invoice_id), array_agg(line.sale_id)
    into v_taken_by, v_sale_ids
    from public.invoice_line_items as line
    where (line.id = any(v_line_ids) or line.sale_id = any(v_sale_ids))
      and line.bills
      and line.sale_id is not null;
  end if;

  if v_sale_ids is not null and v_direct and not v_restored then
    perform private.keep_settled_sales(v_sale_ids);
  end if;

  if v_sale_ids is not null then
    perform private.take_sales(v_taken_by, v_sale_ids);
  end if;

  if v_direct_ids is not null then
    perform private.keep_line_totals(v_direct_ids);
  end if;

  return null;
end;
$$;

comment on function private.bill_listed_sales() is
'Trigger: lines of live invoices bill their sales and deliveries; what they leave is free again.';

revoke all on function private.bill_listed_sales() from public, anon, authenticated, service_role;
