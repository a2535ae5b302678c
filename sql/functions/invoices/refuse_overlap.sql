-- After invoices were inserted, or one became live, got another customer or a longer period: refuses
-- (23514) whatever overlaps another live invoice of the customer. Drafts are live, cancelled
-- invoices are not, and deleted ones are cancelled.
--
-- Two who write at once both lock the customer and then look: the second sees what the first
-- committed. That takes `read committed`, in which the API and every caller of ours work. A stricter
-- transaction looks at a snapshot that may be older than the lock, so it is refused (0A000).
--
-- The rows of one statement are looked at together, so that a month of all customers stays quick.
--
-- Locks: the customers by id, `for no key update`; a call holds them already.

create or replace function private.refuse_overlap()
returns trigger
language plpgsql
security definer -- an invoker whom row security filters would lock nothing, silently
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- planning each array anew takes longer than its work
as $$
declare
  v_invoice_ids uuid[];
  v_customer_ids uuid[];
  v_offence record;
begin
  if tg_level = 'ROW' then
    if
      new.invoice_status = 'cancelled'
      or (
        old.invoice_status is distinct from 'cancelled'
        and new.customer_id = old.customer_id
        and new.period_start >= old.period_start
        and new.period_end <= old.period_end
      )
    then
      return null;
    end if;

    v_invoice_ids := array[new.id];
    v_customer_ids := array[new.customer_id];
  else
    select array_agg(added.id), array_agg(added.customer_id)
    into v_invoice_ids, v_customer_ids
    from new_rows as added
    where added.invoice_status is distinct from 'cancelled';
  end if;

  if v_invoice_ids is null then
    return null;
  end if;

  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception using
      errcode = 'feature_not_supported',
      message = 'invoices are written in read committed transactions alone',
      detail = jsonb_build_object(
        'transaction_isolation', current_setting('transaction_isolation')
      )::text,
      hint = 'An older snapshot cannot show the invoices that it would overlap.';
  end if;

  -- lock
  perform
  from public.customers as customer
  where customer.id = any(v_customer_ids)
  order by customer.id
  for no key update;

  -- check
  select
    invoice.id,
    invoice.customer_id,
    other.id as other_id,
    other.invoice_number as other_number,
    other.period_start,
    other.period_end
  into v_offence
  from public.invoice_metadata as invoice
  inner join public.invoice_metadata as other on invoice.customer_id = other.customer_id
  where invoice.id = any(v_invoice_ids)
    and other.id <> invoice.id
    and other.period_start <= invoice.period_end
    and other.period_end >= invoice.period_start
    and other.invoice_status is distinct from 'cancelled'
  limit 1;

  if found then
    raise exception using
      errcode = 'check_violation',
      schema = 'public',
      table = 'invoice_metadata',
      constraint = 'invoice_metadata_no_overlap',
      column = 'period_start',
      message = 'the customer has a live invoice that overlaps this period',
      detail = jsonb_build_object(
        'id', v_offence.id,
        'customer_id', v_offence.customer_id,
        'overlaps', v_offence.other_id,
        'invoice_number', v_offence.other_number,
        'period_start', v_offence.period_start,
        'period_end', v_offence.period_end
      )::text,
      hint = 'Choose days that are not invoiced yet, or cancel the other invoice first.';
  end if;

  return null;
end;
$$;

comment on function private.refuse_overlap() is
'Trigger: refuses (23514) live invoices of one customer whose periods overlap.';

revoke all on function private.refuse_overlap() from public, anon, authenticated, service_role;
