-- Refuses (23514) a voided payment that is allocated to something, whoever allocates or voids it.
--
-- One that offended before can be touched in other columns, and can get better. In a function and not
-- in a WHEN clause: every allocation comes by here, and Postgres reads a WHEN clause from its text
-- anew in each statement.
--
-- Locks: none but the row's own.

create or replace function private.refuse_allocation_of_voided()
returns trigger
language plpgsql
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- check
  if
    new.voided_at is not null
    and new.amount_applied <> 0
    and (old.voided_at is null or new.amount_applied > old.amount_applied)
  then
    raise exception using
      errcode = 'check_violation',
      schema = tg_table_schema,
      table = tg_table_name,
      constraint = 'payments_voided_holds_nothing',
      column = 'amount_applied',
      message = 'a voided payment is allocated to nothing',
      detail = jsonb_build_object('id', new.id, 'amount_applied', new.amount_applied)::text,
      hint = 'Take its allocations off first; void_payment does.';
  end if;

  return new;
end;
$$;

comment on function private.refuse_allocation_of_voided() is
'Trigger: refuses (23514) a voided payment that is allocated to something.';

revoke all on function private.refuse_allocation_of_voided()
from public, anon, authenticated, service_role;
