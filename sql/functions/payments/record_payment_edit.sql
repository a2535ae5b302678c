-- After a payment was edited, by whomever: keeps what it said before and says now, of those columns
-- that changed, with the reason that the call or the writer gave (setting pymilk.reason).
--
-- Locks: none.

create or replace function private.record_payment_edit()
returns trigger
language plpgsql
security definer -- the edits are kept in a schema that no caller may write
set search_path = pg_catalog, pg_temp
as $$
begin
  -- write
  insert into private.payment_edits (recorded_by, call_id, payment_id, was, became, reason)
  select
    private.caller(),
    nullif(current_setting('pymilk.call_id', true), '')::uuid,
    new.id,
    jsonb_object_agg(before.column_name, before.value),
    jsonb_object_agg(before.column_name, after.value),
    left(nullif(current_setting('pymilk.reason', true), ''), 1000)
  from jsonb_each(
    jsonb_build_object(
      'amount', old.amount,
      'customer_id', old.customer_id,
      'payment_date', old.payment_date,
      'payment_method', old.payment_method,
      'voided_at', old.voided_at,
      'voided_by', old.voided_by,
      'void_reason', old.void_reason
    )
  ) as before (column_name, value)
  inner join jsonb_each(to_jsonb(new)) as after (column_name, value)
    on before.column_name = after.column_name
  where before.value <> after.value;

  return null;
end;
$$;

comment on function private.record_payment_edit() is
'Trigger: keeps what an edited payment said before and says now, who edited it and why.';

revoke all on function private.record_payment_edit()
from public, anon, authenticated, service_role;
