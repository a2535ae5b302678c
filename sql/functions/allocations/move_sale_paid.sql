-- Moves the guarded counter sales.amount_paid by what changed in sales_payments, and with it the
-- status of the sale.
--
-- Checks what spans rows while both sides are locked: money goes to Credit sales of the payment's
-- own customer, to those that stand on no live invoice, and pays each whole and by one payment.
-- 0 <= amount_paid <= total_amount is a rule of the table (see refuse_row). Taking money off is
-- never refused: of a sale that two payments had paid before this gap, one may be voided.
--
-- p_changes: rupees, one for each pair of payment and sale, negative when money comes off.
-- p_whole: whether what is left has to be nothing or the whole; not so where rows were deleted.
-- Locks: sales by id, `for no key update`; the payments are held by move_amount_applied.

create or replace function private.move_sale_paid(
  p_payment_ids uuid[],
  p_sale_ids uuid[],
  p_changes numeric[],
  p_whole boolean
)
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
  from public.sales as sale
  where sale.id = any(p_sale_ids)
  order by sale.id
  for no key update;

  -- check
  with moved as (
    select
      change.sale_id,
      sum(change.amount) as amount,
      count(*) filter (where change.amount > 0) as payments,
      (array_agg(change.payment_id) filter (where change.amount > 0))[1] as payment_id
    from unnest(p_payment_ids, p_sale_ids, p_changes) as change (payment_id, sale_id, amount)
    group by change.sale_id
  )

  select
    judged.sale_id,
    judged.payment_id,
    judged.rule,
    case judged.rule
      when 'sales_payments_credit_only' then 'only a Credit sale is paid by a payment'
      when 'sales_payments_same_customer'
        then 'the payment and the sale belong to different customers'
      when 'sales_payments_unbilled' then 'a sale that is on an invoice is paid through it'
      else 'a sale is paid whole, by one payment'
    end as message,
    case judged.rule
      when 'sales_payments_credit_only' then 'Cash and QR sales are paid at the counter.'
      when 'sales_payments_same_customer' then 'Allocate the payment to a sale of its customer.'
      when 'sales_payments_unbilled' then 'Allocate the payment to the invoice.'
      else 'Allocate exactly what remains of the sale.'
    end as hint
  into v_offence
  from (
    select
      moved.sale_id,
      moved.payment_id,
      case
        when moved.payments > 0 and sale.sale_type <> 'Credit' then 'sales_payments_credit_only'
        when moved.payments > 0 and sale.customer_id is distinct from payment.customer_id
          then 'sales_payments_same_customer'
        when moved.payments > 0 and bill.sale_id is not null then 'sales_payments_unbilled'
        when
          moved.payments > 1
          or (moved.amount <> 0 and sale.amount_paid + moved.amount not in (0, sale.total_amount))
          then 'sales_payments_whole'
      end as rule
    from moved
    inner join public.sales as sale on moved.sale_id = sale.id
    left join public.payments as payment on moved.payment_id = payment.id
    left join private.bills_of_sales(p_sale_ids) as bill on moved.sale_id = bill.sale_id
    where p_whole
  ) as judged
  where judged.rule is not null
  order by judged.sale_id
  limit 1;

  if found then
    raise exception using
      errcode = 'check_violation',
      schema = 'public',
      table = 'sales_payments',
      constraint = v_offence.rule,
      column = 'sales_id',
      message = v_offence.message,
      detail = jsonb_build_object(
        'sale_id', v_offence.sale_id, 'payment_id', v_offence.payment_id
      )::text,
      hint = v_offence.hint;
  end if;

  -- write
  update public.sales as sale
  set
    amount_paid = sale.amount_paid + moved.amount,
    payment_status = case
      when sale.sale_type <> 'Credit' then sale.payment_status
      when sale.amount_paid + moved.amount >= sale.total_amount then 'Completed'
      when bill.sale_id is null then 'Pending'
      when bill.paid then 'Completed'
      else 'Billed'
    end,
    -- the app's own statements set it themselves; a restore keeps what was
    updated_at = case
      when current_setting('pymilk.call_id', true) <> '' then now()
      else sale.updated_at
    end
  from (
    select change.sale_id, sum(change.amount) as amount
    from unnest(p_sale_ids, p_changes) as change (sale_id, amount)
    group by change.sale_id
    having sum(change.amount) <> 0
  ) as moved
  left join private.bills_of_sales(p_sale_ids) as bill on moved.sale_id = bill.sale_id
  where sale.id = moved.sale_id;
end;
$$;

comment on function private.move_sale_paid(uuid[], uuid[], numeric[], boolean) is
'Moves sales.amount_paid, and the status with it, by what changed in sales_payments.';

revoke all on function private.move_sale_paid(uuid[], uuid[], numeric[], boolean)
from public, anon, authenticated, service_role;
