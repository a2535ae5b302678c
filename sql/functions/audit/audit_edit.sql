-- After somebody edited a row: enters what changed into the audit trail, as it was and as it
-- became.
--
-- It is what people say that is entered. When counters move this is not even called, or goes at once:
-- every allocation of an invoice comes by here. Among issued invoices the status follows from money
-- and dates; to and from draft and cancelled it is somebody's word.
-- Columns that follow from others are left out of the entry. What happened gets its own name where
-- it has one: voided, deleted, recovered, cancelled, reinstated.
--
-- Trigger argument: what a row is called (payment, invoice, customer).
-- Locks: none.

create or replace function private.audit_edit()
returns trigger
language plpgsql
security definer -- the trail is written by the database alone
set search_path = pg_catalog, pg_temp
as $$
declare
  v_was jsonb;
  v_became jsonb;
begin
  if tg_argv[0] = 'invoice' then
    if new.amount_paid is distinct from old.amount_paid then
      return null; -- only the counter's own update moves it, and says nothing else
    end if;
  end if;

  v_was := to_jsonb(old);
  v_became := to_jsonb(new);

  insert into public.audit_trail (
    recorded_by, action, entity, entity_id, was, became, reason, call_id
  )
  select
    private.caller(),
    case
      when v_was ->> 'voided_at' is null and v_became ->> 'voided_at' is not null then 'voided'
      when v_was ->> 'deleted_at' is null and v_became ->> 'deleted_at' is not null then 'deleted'
      when v_was ->> 'deleted_at' is not null and v_became ->> 'deleted_at' is null
        then 'recovered'
      when
        v_became ->> 'invoice_status' = 'cancelled'
        and v_was ->> 'invoice_status' is distinct from 'cancelled'
        then 'cancelled'
      when
        v_was ->> 'invoice_status' = 'cancelled'
        and v_became ->> 'invoice_status' is distinct from 'cancelled'
        then 'reinstated'
      else 'edited'
    end,
    tg_argv[0],
    new.id,
    jsonb_object_agg(changed.name, v_was -> changed.name),
    jsonb_object_agg(changed.name, changed.value),
    nullif(current_setting('pymilk.reason', true), ''),
    nullif(current_setting('pymilk.call_id', true), '')::uuid
  from jsonb_each(v_became) as changed (name, value)
  where changed.value is distinct from v_was -> changed.name
    and changed.name <> all (array[
      'amount_applied', 'amount_unapplied', 'allocation_status', 'amount_paid',
      'amount_outstanding', 'last_payment_date', 'opening_balance_paid', 'updated_at'
    ])
  having bool_or(
    changed.name <> 'invoice_status'
    or v_was ->> 'invoice_status' in ('draft', 'cancelled')
    or v_became ->> 'invoice_status' in ('draft', 'cancelled')
  );

  return null;
end;
$$;

comment on function private.audit_edit() is
'Trigger: enters an edit into the audit trail. Argument: what a row is called.';

revoke all on function private.audit_edit() from public, anon, authenticated, service_role;
