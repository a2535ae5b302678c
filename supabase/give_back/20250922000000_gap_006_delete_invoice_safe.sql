-- After deletions, mapping and trail were given back: an invoice that was un-cancelled while the gap
-- was rolled back is in use, and not deleted behind anybody's back; what lines bill and the mapping
-- follow from the invoices as they are now.

alter table public.invoice_metadata disable trigger keep_deletion_on_update;
alter table public.invoice_line_items disable trigger keep_bills_on_update;
alter table public.invoice_line_items disable trigger bill_on_update;

update public.invoice_metadata as invoice
set deleted_at = null, deleted_by = null, status_before_deletion = null
where invoice.deleted_at is not null and invoice.invoice_status is distinct from 'cancelled';

-- First what stops billing, then what bills: the oldest live invoice, as when the gap came.
update public.invoice_line_items as item
set bills = false
from public.invoice_metadata as invoice
where item.invoice_id = invoice.id and item.bills and invoice.invoice_status = 'cancelled';

with live as (
  select
    item.id,
    item.sale_id,
    item.delivery_id,
    item.bills,
    row_number() over (
      partition by item.sale_id
      order by not item.bills, invoice.created_at, invoice.id, item.created_at, item.id
    ) as sale_place,
    row_number() over (
      partition by item.delivery_id
      order by not item.bills, invoice.created_at, invoice.id, item.created_at, item.id
    ) as delivery_place
  from public.invoice_line_items as item
  inner join public.invoice_metadata as invoice on item.invoice_id = invoice.id
  where coalesce(invoice.invoice_status, 'draft') <> 'cancelled'
)

update public.invoice_line_items as item
set bills = true
from live as standing
where
  item.id = standing.id
  and not standing.bills
  and (standing.sale_id is null or standing.sale_place = 1)
  and (standing.delivery_id is null or standing.delivery_place = 1);

update public.invoice_sales_mapping as mapped
set released_at = now()
where
  mapped.released_at is null
  and not exists (
    select
    from public.invoice_line_items as item
    where
      item.bills
      and item.invoice_id = mapped.invoice_id
      and item.sale_id = mapped.sale_id
  );

insert into public.invoice_sales_mapping (invoice_id, sale_id, mapped_at)
select
  item.invoice_id,
  item.sale_id,
  coalesce(item.created_at, now())
from public.invoice_line_items as item
where item.bills and item.sale_id is not null
on conflict (invoice_id, sale_id) do update set released_at = null;

alter table public.invoice_line_items enable trigger bill_on_update;
alter table public.invoice_line_items enable trigger keep_bills_on_update;
alter table public.invoice_metadata enable trigger keep_deletion_on_update;
