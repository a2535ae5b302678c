-- The least and the most that one payment of a method may come to, in rupees, both included. That
-- an amount is above 0 is a rule of payments by itself.
--
-- p_method: its one name (canonical_payment_method).
-- Locks: none.

create or replace function private.payment_method_limits(
  p_method text,
  out least_amount numeric,
  out most_amount numeric
)
returns record
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  least_amount := case p_method
    when 'Cash' then 0
    when 'Cheque' then 1000
    else 1
  end;
  most_amount := case p_method
    when 'Cash' then 50000
    when 'Cheque' then 1000000
    when 'Bank Transfer' then 1000000
    else 100000
  end;
end;
$$;

comment on function private.payment_method_limits(text) is
'The least and the most that one payment of a method may come to, in rupees.';

revoke all on function private.payment_method_limits(text)
from public, anon, authenticated, service_role;
