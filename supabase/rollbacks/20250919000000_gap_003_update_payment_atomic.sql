-- Undoes gap 003, exactly. No row of payments changes; the record of edits goes with its table, and
-- the toolkit archives it before.
--
-- The app goes back first: update_payment_atomic is gone afterwards, and it did not exist before.
--
-- Locks: `drop trigger` takes access exclusive on payments, from here to the commit.

drop trigger record_edit on public.payments;
drop trigger refuse_change on private.payment_edits;

-- functions, as they were before ----------------------------------------------------------------

-- >>> sql/functions/payments/change_payment.sql was not there
drop function private.change_payment(uuid, numeric, uuid[], numeric[]);
-- <<<

-- >>> sql/functions/payments/record_payment_edit.sql was not there
drop function private.record_payment_edit();
-- <<<

-- >>> sql/functions/payments/update_payment_atomic.sql was not there
drop function public.update_payment_atomic(uuid, numeric, jsonb, text);
-- <<<

-- what the gap added -----------------------------------------------------------------------------

drop table private.payment_edits;
