-- The one name of a payment method, whatever people call it: Cash, UPI, Bank Transfer, Cheque,
-- Online or Card; null for a blank. Case, spaces, hyphens and underscores do not matter.
--
-- Refusals: PT422 payment_method_unknown
-- Locks: none.

create or replace function public.normalize_payment_method(p_method text)
returns text
language plpgsql
immutable
security definer -- the names of methods are kept in a schema that no caller may use
set search_path = pg_catalog, pg_temp
as $$
begin
  -- return
  return private.known_payment_method(p_method);
end;
$$;

comment on function public.normalize_payment_method(text) is
'The one name of a payment method; null for blank.

p_method text | null: as people write it, such as gpay or NEFT
returns "Cash" | "UPI" | "Bank Transfer" | "Cheque" | "Online" | "Card" | null';

revoke all on function public.normalize_payment_method(text)
from public, anon, authenticated, service_role;
grant execute on function public.normalize_payment_method(text) to authenticated, service_role;
