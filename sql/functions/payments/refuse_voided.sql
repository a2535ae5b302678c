-- Refuses (23514) a payment that is recorded as voided already: nobody could say who voided it, nor
-- why. The trigger's WHEN clause says when one is.
--
-- A row that says it was made earlier than now comes from a `--data-only` restore and keeps what it
-- was; the roles of the API restore nothing.
--
-- Locks: none.

create or replace function private.refuse_voided()
returns trigger
language plpgsql
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- check
  if
    new.created_at is not distinct from now()
    or current_setting('role', true) in ('anon', 'authenticated', 'service_role')
  then
    raise exception using
      errcode = 'check_violation',
      schema = tg_table_schema,
      table = tg_table_name,
      constraint = 'payments_recorded_live',
      column = 'voided_at',
      message = 'a payment is recorded first and voided then',
      detail = jsonb_build_object('id', new.id, 'voided_at', new.voided_at)::text,
      hint = 'Record the payment without voided_at, then call void_payment.';
  end if;

  return new;
end;
$$;

comment on function private.refuse_voided() is
'Trigger: refuses (23514) a payment that is recorded as voided already.';

revoke all on function private.refuse_voided() from public, anon, authenticated, service_role;
