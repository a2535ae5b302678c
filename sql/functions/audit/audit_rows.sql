-- After rows were inserted or deleted: enters them, whole, into the audit trail.
--
-- A row that says it was made earlier than now comes from a `--data-only` restore, and what the
-- trail says of it is restored by itself; the roles of the API restore nothing and are believed
-- nothing.
--
-- Trigger argument: what a row is called (payment, invoice).
-- Locks: none.

create or replace function private.audit_rows()
returns trigger
language plpgsql
security definer -- the trail is written by the database alone
set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_op = 'INSERT' then
    insert into public.audit_trail (
      recorded_by, action, entity, entity_id, became, reason, call_id
    )
    select
      private.caller(),
      'created',
      tg_argv[0],
      added.id,
      to_jsonb(added),
      nullif(current_setting('pymilk.reason', true), ''),
      nullif(current_setting('pymilk.call_id', true), '')::uuid
    from new_rows as added
    where added.created_at is not distinct from now()
      or current_setting('role', true) in ('anon', 'authenticated', 'service_role');
  else
    insert into public.audit_trail (
      recorded_by, action, entity, entity_id, was, reason, call_id
    )
    select
      private.caller(),
      'removed',
      tg_argv[0],
      gone.id,
      to_jsonb(gone),
      nullif(current_setting('pymilk.reason', true), ''),
      nullif(current_setting('pymilk.call_id', true), '')::uuid
    from old_rows as gone;
  end if;

  return null;
end;
$$;

comment on function private.audit_rows() is
'Trigger: enters inserted and deleted rows into the audit trail. Argument: what a row is called.';

revoke all on function private.audit_rows() from public, anon, authenticated, service_role;
