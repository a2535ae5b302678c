-- The one name of a payment method, whatever people call it: Cash, UPI, Bank Transfer, Cheque,
-- Online or Card. Empty for a blank, null for what is none of them.
--
-- ASCII alone is folded, whatever the database's locale: a letter that only looks like one of these
-- makes another word, which nobody knows.
--
-- Locks: none.

create or replace function private.canonical_payment_method(p_method text)
returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  if length(p_method) > 100 then
    return null;
  end if;

  -- return
  return case translate(lower(coalesce(p_method, '') collate "C"), E' \t\n\r\f\x0b-_', '')
    when '' then ''
    when 'cash' then 'Cash'
    when 'upi' then 'UPI'
    when 'gpay' then 'UPI'
    when 'phonepe' then 'UPI'
    when 'paytm' then 'UPI'
    when 'bhim' then 'UPI'
    when 'qr' then 'UPI'
    when 'banktransfer' then 'Bank Transfer'
    when 'bank' then 'Bank Transfer'
    when 'neft' then 'Bank Transfer'
    when 'imps' then 'Bank Transfer'
    when 'rtgs' then 'Bank Transfer'
    when 'cheque' then 'Cheque'
    when 'check' then 'Cheque'
    when 'dd' then 'Cheque'
    when 'online' then 'Online'
    when 'netbanking' then 'Online'
    when 'card' then 'Card'
    when 'debitcard' then 'Card'
    when 'creditcard' then 'Card'
  end;
end;
$$;

comment on function private.canonical_payment_method(text) is
'The one name of a payment method; empty for a blank, null for what is none.';

revoke all on function private.canonical_payment_method(text)
from public, anon, authenticated, service_role;
