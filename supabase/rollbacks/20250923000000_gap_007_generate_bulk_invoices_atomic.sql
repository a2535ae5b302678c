-- Undoes gap 007, exactly.

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

-- what the gap added -----------------------------------------------------------------------------

drop table public.bulk_operation_logs;
