-- Where unapplied_payments differs from the payments that it mirrors: one row for each payment.
--
-- fault: missing, superfluous (nothing is left, and yet there is a row), duplicate, wrong_amount or
-- wrong_customer; the first of these that applies.
--
-- Locks: none. It reads one snapshot.

create or replace function private.unapplied_faults()
returns table (
  payment_id uuid,
  customer_id uuid,
  expected numeric,
  found numeric,
  mirror_rows bigint,
  fault text
)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- return
  return query
  select
    truth.id,
    truth.customer_id,
    truth.rest,
    coalesce(sum(mirror.amount_unapplied), 0),
    count(mirror.id),
    case
      when truth.rest = 0 then 'superfluous'
      when count(mirror.id) = 0 then 'missing'
      when count(mirror.id) > 1 then 'duplicate'
      when sum(mirror.amount_unapplied) <> truth.rest then 'wrong_amount'
      else 'wrong_customer'
    end
  from (
    select payment.id, payment.customer_id, private.left_of_payment(payment) as rest
    from public.payments as payment
  ) as truth
  left join public.unapplied_payments as mirror on truth.id = mirror.payment_id
  group by truth.id, truth.customer_id, truth.rest
  having not case
    when truth.rest = 0 then count(mirror.id) = 0
    else
      count(mirror.id) = 1
      and sum(mirror.amount_unapplied) = truth.rest
      and bool_and(mirror.customer_id = truth.customer_id)
  end;
end;
$$;

comment on function private.unapplied_faults() is
'Where unapplied_payments differs from the payments that it mirrors.';

revoke all on function private.unapplied_faults() from public, anon, authenticated, service_role;
