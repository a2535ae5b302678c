-- Undoes gap 001, exactly: triggers first, so that nobody is counted half; then the totals that the
-- gap had corrected, where nobody has moved them since; then functions, books and schema.
--
-- Allocations and amounts are never touched: top-ups were added to the one row that a pair of
-- invoice and payment always had, so there is nothing to merge. The journal, the idempotency keys
-- and the corrections go with their tables; the toolkit archives their rows before.
--
-- The app goes back first: allocate_payment_atomic is gone afterwards, and it did not exist before.
--
-- Locks: `drop trigger` takes access exclusive on the five tables, from here to the commit.

drop trigger refuse_amount_on_insert on public.payments;
drop trigger derive_payment_on_insert on public.payments;
drop trigger derive_payment_on_update on public.payments;
drop trigger derive_payment_totals on public.payments;
drop trigger refuse_amount_on_update on public.payments;
drop trigger refuse_overallocation on public.payments;
drop trigger refuse_customer_change on public.payments;
drop trigger refresh_last_payment_date on public.payments;

drop trigger refuse_total_on_insert on public.invoice_metadata;
drop trigger derive_invoice_on_insert on public.invoice_metadata;
drop trigger derive_invoice_on_update on public.invoice_metadata;
drop trigger derive_invoice_deeper on public.invoice_metadata;
drop trigger refuse_total_on_update on public.invoice_metadata;
drop trigger refuse_overpayment on public.invoice_metadata;
drop trigger refuse_customer_change on public.invoice_metadata;
drop trigger settle_sales on public.invoice_metadata;

drop trigger lock_payment on public.invoice_payments;
drop trigger refuse_allocation_on_insert on public.invoice_payments;
drop trigger refuse_amount_on_update on public.invoice_payments;
drop trigger refuse_one_sided_on_update on public.invoice_payments;
drop trigger refuse_truncate on public.invoice_payments;
drop trigger count_on_insert on public.invoice_payments;
drop trigger count_on_update on public.invoice_payments;
drop trigger count_on_delete on public.invoice_payments;

drop trigger lock_payment on public.opening_balance_payments;
drop trigger refuse_amount_on_insert on public.opening_balance_payments;
drop trigger refuse_amount_on_update on public.opening_balance_payments;
drop trigger refuse_one_sided_on_insert on public.opening_balance_payments;
drop trigger refuse_one_sided_on_update on public.opening_balance_payments;
drop trigger refuse_truncate on public.opening_balance_payments;
drop trigger count_on_insert on public.opening_balance_payments;
drop trigger count_on_update on public.opening_balance_payments;
drop trigger count_on_delete on public.opening_balance_payments;

drop trigger lock_payment on public.sales_payments;
drop trigger refuse_amount_on_insert on public.sales_payments;
drop trigger refuse_amount_on_update on public.sales_payments;
drop trigger refuse_one_sided_on_insert on public.sales_payments;
drop trigger refuse_one_sided_on_update on public.sales_payments;
drop trigger refuse_truncate on public.sales_payments;
drop trigger count_on_insert on public.sales_payments;
drop trigger count_on_update on public.sales_payments;
drop trigger count_on_delete on public.sales_payments;

drop trigger refuse_change on private.allocation_journal;

update public.payments as payment
set
  amount_applied = (correction.was ->> 'amount_applied')::numeric,
  amount_unapplied = (correction.was ->> 'amount_unapplied')::numeric,
  allocation_status = correction.was ->> 'allocation_status'
from private.cached_total_corrections as correction
where
  correction.table_name = 'payments'
  and payment.id = correction.row_id
  and to_jsonb(payment) @> correction.corrected_to;

update public.invoice_metadata as invoice
set
  amount_paid = (correction.was ->> 'amount_paid')::numeric,
  amount_outstanding = (correction.was ->> 'amount_outstanding')::numeric,
  last_payment_date = (correction.was ->> 'last_payment_date')::date,
  invoice_status = correction.was ->> 'invoice_status'
from private.cached_total_corrections as correction
where
  correction.table_name = 'invoice_metadata'
  and invoice.id = correction.row_id
  and to_jsonb(invoice) @> correction.corrected_to;

drop function public.allocate_payment_atomic(uuid, jsonb, boolean);
drop function public.check_payment_invariants();
drop function public.request_outcome(text);
drop function public.business_today();

drop function private.allocate_to_invoices(uuid, uuid[], numeric[], boolean);
drop function private.count_invoice_payments();
drop function private.count_opening_balance_payments();
drop function private.count_sales_payments();
drop function private.lock_payment();
drop function private.refuse_allocation();
drop function private.parse_allocations(jsonb);
drop function private.derive_invoice();
drop function private.move_amount_paid(uuid[], uuid[], numeric[]);
drop function private.refresh_last_payment_date();
drop function private.refuse_overpayment();
drop function private.derive_payment();
drop function private.mirror_unapplied(uuid, uuid, numeric);
drop function private.move_amount_applied(uuid[], numeric[]);
drop function private.refuse_overallocation();
drop function private.caller();
drop function private.claim_request(text, text, jsonb);
drop function private.finish_request(text, text, jsonb, uuid, jsonb);
drop function private.idempotency_key();
drop function private.lock_request(text, text);
drop function private.outside_our_triggers();
drop function private.refuse_row();
drop function private.refuse_statement();
drop function private.settle_sales();

drop table private.cached_total_corrections;
drop table private.allocation_journal;
drop table private.request_keys;

drop schema private;
