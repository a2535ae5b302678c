-- Undoes gap 007, exactly.

drop trigger refuse_price_on_insert on public.products;
drop trigger refuse_price_on_update on public.products;
drop trigger refuse_price_on_insert on public.product_pricing_history;
drop trigger refuse_price_on_update on public.product_pricing_history;
drop trigger refuse_total_on_insert on public.daily_orders;
drop trigger refuse_total_on_update on public.daily_orders;
drop trigger refuse_price_on_insert on public.daily_orders;
drop trigger refuse_price_on_update on public.daily_orders;
drop trigger refuse_total_on_insert on public.deliveries;
drop trigger refuse_total_on_update on public.deliveries;
drop trigger refuse_price_on_insert on public.deliveries;
drop trigger refuse_price_on_update on public.deliveries;
drop trigger refuse_price_on_insert on public.sales;
drop trigger refuse_price_on_update on public.sales;
drop trigger refuse_parts_on_insert on public.invoice_metadata;
drop trigger refuse_parts_on_update on public.invoice_metadata;
drop trigger refuse_gst_on_insert on public.invoice_metadata;
drop trigger refuse_gst_on_update on public.invoice_metadata;
drop trigger refuse_total_on_insert on public.invoice_line_items;
drop trigger refuse_total_on_update on public.invoice_line_items;
drop trigger refuse_price_on_insert on public.invoice_line_items;
drop trigger refuse_price_on_update on public.invoice_line_items;

alter table public.sales alter column sale_date set default current_date;

-- functions, as they were before ----------------------------------------------------------------

-- >>> sql/functions/bulk_operations/log_bulk_operation.sql was not there
drop function public.log_bulk_operation(text, jsonb);
-- <<<

-- >>> sql/functions/bulk_operations/update_bulk_operation_status.sql was not there
drop function public.update_bulk_operation_status(uuid, text, jsonb, text);
-- <<<

-- >>> sql/functions/invoices/billing_lines.sql was not there
drop function private.billing_lines(uuid[], date, date);
-- <<<

-- >>> sql/functions/invoices/billing_reason.sql was not there
drop function private.billing_reason(text, jsonb);
-- <<<

-- >>> sql/functions/invoices/check_billed_amounts.sql was not there
drop function private.check_billed_amounts();
-- <<<

-- >>> sql/functions/invoices/check_period.sql was not there
drop function private.check_period(date, date);
-- <<<

-- >>> sql/functions/invoices/delete_bulk_invoices_safe.sql was not there
drop function public.delete_bulk_invoices_safe(uuid[], boolean);
-- <<<

-- >>> sql/functions/invoices/due_date.sql was not there
drop function private.due_date(date, integer);
-- <<<

-- >>> sql/functions/invoices/financial_year.sql was not there
drop function private.financial_year(date);
-- <<<

-- >>> sql/functions/invoices/generate_bulk_invoices_atomic.sql was not there
drop function public.generate_bulk_invoices_atomic(date, date, uuid[], boolean);
-- <<<

-- >>> sql/functions/invoices/generate_invoices.sql was not there
drop function private.generate_invoices(uuid[], date, date, boolean);
-- <<<

-- >>> sql/functions/invoices/parse_customer_ids.sql was not there
drop function private.parse_customer_ids(uuid[]);
-- <<<

-- >>> sql/functions/invoices/preview_bulk_invoices.sql was not there
drop function public.preview_bulk_invoices(date, date, uuid[]);
-- <<<

-- >>> sql/functions/invoices/take_invoice_numbers.sql was not there
drop function private.take_invoice_numbers(text, integer);
-- <<<

-- >>> sql/functions/payments/check_payment_invariants.sql as of 20250922000000_gap_006_delete_invoice_safe sha256:bb948aa3d81cf1890b4d3665f4d952b173cba1cf76cd074f49c873f9c171a110
-- Every broken invariant of the books, one row each; none when all is well. The same questions as
-- sql/invariants asks from outside, by the same names; each part stands in a function of its own.
--
-- Locks: none. It reads one snapshot.

create or replace function public.check_payment_invariants()
returns table (
  invariant text,
  entity text,
  entity_id text,
  expected text,
  found text
)
language plpgsql
stable
security definer -- to whom row security hides rows, all would seem well
set search_path = pg_catalog, pg_temp
as $$
begin
  -- return
  return query
  select * from private.check_payments()
  union all
  select * from private.check_unapplied_payments()
  union all
  select * from private.check_settlements()
  union all
  select * from private.check_billing();
end;
$$;

comment on function public.check_payment_invariants() is
'Every broken invariant of the books as a row; none when all is well.';

revoke all on function public.check_payment_invariants()
from public, anon, authenticated, service_role;
grant execute on function public.check_payment_invariants() to authenticated, service_role;
-- <<<

-- what the gap added -----------------------------------------------------------------------------

drop table public.bulk_operation_logs;
