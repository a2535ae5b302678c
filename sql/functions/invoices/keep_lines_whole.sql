-- After lines were changed or removed, or added to an invoice that was whole, directly: what issued
-- invoices bill must add up to their totals (23514 otherwise). A line that went alone would set its
-- sale free, to be billed once more, while the customer still owes it; one that came alone would have
-- its sale paid with money that was paid for others.
--
-- When the last line of an issued invoice that nobody has paid is removed, the invoice is a draft
-- again: that is the first half of the app's deletion, and until the second nobody owes what no line
-- explains. Of a deleted invoice nothing may go at all: it comes back as it was, or not.
--
-- A draft may be taken apart and put together again (keep_issued_total looks when it is issued), but
-- for what money was paid for: set free, it would be paid twice. A cancelled invoice bills nothing.
--
-- Each invoice gets another version: a session which cannot see what became of its lines, its snapshot
-- being older, cannot issue it (40001).
--
-- Locks: the invoices by id, `for no key update`: two who change lines or total come one after the
-- other.

create or replace function private.keep_lines_whole(p_invoice_ids uuid[])
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_offence record;
begin
  -- lock
  perform
  from public.invoice_metadata as invoice
  where invoice.id = any(p_invoice_ids)
  order by invoice.id
  for no key update;

  -- check
  select
    invoice.id,
    case
      when invoice.deleted_at is not null then 'invoice_line_items_deleted_fixed'
      when invoice.invoice_status = 'draft' then 'invoice_line_items_paid_fixed'
      else 'invoice_line_items_issued_whole'
    end as rule,
    invoice.total_amount,
    invoice.amount_paid,
    line.total
  into v_offence
  from public.invoice_metadata as invoice
  cross join lateral (
    select count(*) as number, coalesce(sum(item.line_total), 0) as total
    from public.invoice_line_items as item
    where item.invoice_id = invoice.id
  ) as line
  where invoice.id = any(p_invoice_ids)
    and (
      invoice.deleted_at is not null
      or (
        coalesce(invoice.invoice_status, 'draft') not in ('draft', 'cancelled')
        and invoice.total_amount <> line.total
        and (line.number > 0 or invoice.amount_paid <> 0)
      )
      or (invoice.invoice_status = 'draft' and invoice.amount_paid > greatest(line.total, 0))
    )
  order by invoice.id
  limit 1;

  if found then
    raise exception using
      errcode = 'check_violation',
      schema = 'public',
      table = 'invoice_line_items',
      constraint = v_offence.rule,
      column = 'line_total',
      message = case v_offence.rule
        when 'invoice_line_items_deleted_fixed'
          then 'the lines of a deleted invoice stay as they are'
        when 'invoice_line_items_paid_fixed'
          then 'the lines of a draft cover the money that was paid for them'
        else 'the lines of an issued invoice add up to its total'
      end,
      detail = jsonb_build_object(
        'invoice_id', v_offence.id,
        'total_amount', v_offence.total_amount,
        'amount_paid', v_offence.amount_paid,
        'lines', v_offence.total
      )::text,
      hint = case v_offence.rule
        when 'invoice_line_items_deleted_fixed'
          then 'Recover the invoice first, or delete it for good.'
        when 'invoice_line_items_paid_fixed' then 'Take the payments off the invoice first.'
        else 'Delete or cancel the invoice, or make it a draft, change it, and issue it again.'
      end;
  end if;

  -- write
  update public.invoice_metadata as invoice
  set updated_at = invoice.updated_at
  where invoice.id = any(p_invoice_ids);

  update public.invoice_metadata as invoice
  set invoice_status = 'draft'
  where invoice.id = any(p_invoice_ids)
    and coalesce(invoice.invoice_status, 'draft') not in ('draft', 'cancelled')
    and invoice.total_amount <> 0
    and not exists (
      select
      from public.invoice_line_items as item
      where item.invoice_id = invoice.id
    );
end;
$$;

comment on function private.keep_lines_whole(uuid[]) is
'Refuses changes after which the lines of issued invoices would not add up to their totals.';

revoke all on function private.keep_lines_whole(uuid[])
from public, anon, authenticated, service_role;
