-- After voided payments were given back: one that was edited or allocated while the gap was rolled
-- back is in use again and shows as such in the books. It is not voided behind anybody's back; who
-- wants that calls void_payment.

alter table public.payments disable trigger refuse_change_of_voided;

update public.payments as payment
set voided_at = null, voided_by = null, void_reason = null
where
  payment.voided_at is not null
  and (payment.amount_applied <> 0 or payment.amount_unapplied <> 0);

alter table public.payments enable trigger refuse_change_of_voided;
