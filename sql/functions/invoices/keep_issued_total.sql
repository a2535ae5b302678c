-- Refuses (23514) a total that the lines of an issued invoice don't add up to, where a direct write
-- changes the total or issues the invoice.
-- An invoice that never had a line may say any total: the app may have written a sum alone. One that
-- lost its lines (the audit trail tells) may not: what they billed is free to be billed again.
-- A deleted invoice keeps its total, and stays cancelled until it is recovered, whoever writes it.
-- Locks: none; the invoice is held by the update itself, and whoever changes its lines takes it.

create or replace function private.keep_issued_total()
returns trigger
language plpgsql
security definer -- an invoker whom row security filters would see no lines, silently
set search_path = pg_catalog, pg_temp
as $$
declare
  v_number bigint;
  v_total numeric;
begin
  -- check
  if new.deleted_at is not null and new.invoice_status is distinct from 'cancelled' then
    raise exception using
      errcode = 'check_violation',
      schema = 'public',
      table = 'invoice_metadata',
      constraint = 'invoice_metadata_deleted_is_cancelled',
      column = 'invoice_status',
      message = 'a deleted invoice stays cancelled until it is recovered',
      detail = jsonb_build_object('id', new.id, 'invoice_status', new.invoice_status)::text,
      hint = 'Recover the invoice with recover_invoice.';
  elsif current_setting('pymilk.call_id', true) <> '' then
    return new;
  elsif
    new.total_amount = old.total_amount
    and (
      coalesce(old.invoice_status, 'draft') not in ('draft', 'cancelled')
      or new.invoice_status in ('draft', 'cancelled')
    )
  then
    return new;
  end if;

  if old.deleted_at is not null and new.total_amount is distinct from old.total_amount then
    raise exception using
      errcode = 'check_violation',
      schema = 'public',
      table = 'invoice_metadata',
      constraint = 'invoice_metadata_deleted_total_fixed',
      column = 'total_amount',
      message = 'a deleted invoice keeps its total',
      detail = jsonb_build_object('id', old.id, 'total_amount', new.total_amount)::text,
      hint = 'Recover the invoice first.';
  elsif coalesce(new.invoice_status, 'draft') in ('draft', 'cancelled') then
    return new;
  end if;

  select count(*), coalesce(sum(line.line_total), 0) into v_number, v_total
  from public.invoice_line_items as line
  where line.invoice_id = old.id;

  if
    new.total_amount <> v_total
    and (
      v_number > 0
      or exists (
        select
        from public.audit_trail as entry
        where entry.entity_id = old.id and entry.action = 'lines_removed'
      )
    )
  then
    raise exception using
      errcode = 'check_violation',
      schema = 'public',
      table = 'invoice_metadata',
      constraint = 'invoice_metadata_issued_whole',
      column = 'total_amount',
      message = 'the lines of an issued invoice add up to its total',
      detail = jsonb_build_object(
        'id', old.id, 'total_amount', new.total_amount, 'lines', v_total
      )::text,
      hint = 'Change the lines while the invoice is a draft, then issue it with their sum.';
  end if;

  return new;
end;
$$;

comment on function private.keep_issued_total() is
'Trigger: the total of an issued invoice is what its lines add up to; a deleted one is cancelled.';

revoke all on function private.keep_issued_total() from public, anon, authenticated, service_role;
