-- What a sale says of itself (paid, status) is what its payments and its invoice say.
-- do: before gap 005, deploy it (it corrects them); after it, restore nothing and report a defect.
with sale_paid as (
  select
    sales_id,
    sum(amount_allocated) as amount
  from public.sales_payments
  group by sales_id
),

bill as (
  select
    item.sale_id,
    bool_or(invoice.invoice_status = 'paid') as paid
  from public.invoice_line_items as item
  inner join public.invoice_metadata as invoice on item.invoice_id = invoice.id
  where item.sale_id is not null and invoice.invoice_status is distinct from 'cancelled'
  group by item.sale_id
),

truth as (
  select
    sale.id,
    sale.payment_status,
    coalesce(sale_paid.amount, 0) as paid,
    -- the column comes with gap 005
    (to_jsonb(sale) ->> 'amount_paid')::numeric as said,
    case
      when sale.sale_type <> 'Credit' then sale.payment_status
      when sale_paid.amount >= sale.total_amount or bill.paid then 'Completed'
      when bill.sale_id is not null then 'Billed'
      else sale.payment_status
    end as true_status
  from public.sales as sale
  left join sale_paid on sale.id = sale_paid.sales_id
  left join bill on sale.id = bill.sale_id
)

select
  'sale' as entity,
  truth.id::text as entity_id,
  concat_ws(', ', truth.paid || ' paid', truth.true_status) as expected,
  concat_ws(', ', truth.said || ' paid', truth.payment_status) as found
from truth
where truth.said <> truth.paid or truth.payment_status <> truth.true_status;
