-- The one name of a payment method (canonical_payment_method), null for a blank.
--
-- Refusals: PT422 payment_method_unknown
-- Locks: none.

create or replace function private.known_payment_method(p_method text)
returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_method text := private.canonical_payment_method(p_method);
begin
  if v_method is null then
    raise exception using
      errcode = 'PT422',
      message = 'payment_method_unknown',
      detail = jsonb_build_object(
        'given', left(p_method, 200),
        'known', array['Cash', 'UPI', 'Bank Transfer', 'Cheque', 'Online', 'Card']
      )::text,
      hint = 'Choose Cash, UPI, Bank Transfer, Cheque, Online or Card, or leave it blank.';
  end if;

  -- return
  return nullif(v_method, '');
end;
$$;

comment on function private.known_payment_method(text) is
'The one name of a payment method, null for a blank; refuses what is none.';

revoke all on function private.known_payment_method(text)
from public, anon, authenticated, service_role;
