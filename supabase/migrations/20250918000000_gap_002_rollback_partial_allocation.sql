-- GAP-002: a status update that fails leaves money allocated and the invoice unpaid.

-- what the gap adds ------------------------------------------------------------------------------

alter table public.payments
add column voided_at timestamptz,
add column voided_by text,
add column void_reason text;

alter table private.allocation_journal add column reason text;

create table private.privileges_before (
  migration text not null,
  kind text not null check (kind in ('function', 'table', 'column', 'default')),
  object text not null,
  part text not null default '',
  privileges aclitem[] not null,
  primary key (migration, kind, object, part)
);

comment on table private.privileges_before is
'Privileges of objects that a migration found and changed, for its rollback to restore.';
comment on column private.privileges_before.object is
'The function or table; of default privileges the schema, or nothing for all schemas.';
comment on column private.privileges_before.part is
'The column of a table; of default privileges tables, sequences or functions.';

alter table private.privileges_before enable row level security;
revoke all on private.privileges_before from public, anon, authenticated, service_role;

-- functions, quoted from sql/functions ----------------------------------------------------------

-- >>> sql/functions/payments/check_payment_invariants.sql sha256:a60446bed0467b3829b4d2ed9ce57b323e162e1037b2ac416e5e10f9c843598d
-- Every broken invariant of the books, one row each; none when all is well. The same questions as
-- sql/invariants asks from outside, by the same names; each part stands in a function of its own.
--
-- Locks: none. It reads one snapshot.

create or replace function public.check_payment_invariants()
returns table (
  invariant text,
  entity text,
  entity_id text,
  expected text,
  found text
)
language plpgsql
stable
security definer -- to whom row security hides rows, all would seem well
set search_path = pg_catalog, pg_temp
as $$
begin
  -- return
  return query
  select * from private.check_payments();
end;
$$;

comment on function public.check_payment_invariants() is
'Every broken invariant of the books as a row; none when all is well.';

revoke all on function public.check_payment_invariants()
from public, anon, authenticated, service_role;
grant execute on function public.check_payment_invariants() to authenticated, service_role;
-- <<<

-- >>> sql/functions/payments/check_payments.sql sha256:f97a071c5fdd520769c1b6d0cf2295d27d900bd542be9f879e2c5d68622c621d
-- Every broken invariant of payments, one row each; a part of check_payment_invariants.
--
-- Locks: none. It reads one snapshot.

create or replace function private.check_payments()
returns table (
  invariant text,
  entity text,
  entity_id text,
  expected text,
  found text
)
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- return
  return query
  with allocation as (
    select 'invoice_payment' as entity, id, payment_id, invoice_id as target_id,
      amount_allocated as amount
    from public.invoice_payments
    union all
    select 'opening_balance_payment', id, payment_id, customer_id, amount
    from public.opening_balance_payments
    union all
    select 'sales_payment', id, payment_id, sales_id, amount_allocated
    from public.sales_payments
  ),

  applied as (
    select payment_id, sum(amount) as amount
    from allocation
    group by payment_id
  ),

  paid as (
    select
      allocation.invoice_id,
      sum(allocation.amount_allocated) as amount,
      max(payment.payment_date) as last_payment_date
    from public.invoice_payments as allocation
    left join public.payments as payment on allocation.payment_id = payment.id
    group by allocation.invoice_id
  ),

  payment_truth as (
    select
      payment.*,
      coalesce(applied.amount, 0) as allocated,
      case
        when coalesce(applied.amount, 0) <= 0 then 'unapplied'
        when applied.amount < payment.amount then 'partially_applied'
        else 'fully_applied'
      end as true_status
    from public.payments as payment
    left join applied on payment.id = applied.payment_id
  ),

  invoice_truth as (
    select
      invoice.*,
      coalesce(paid.amount, 0) as allocated,
      paid.last_payment_date as true_date,
      case
        when coalesce(invoice.invoice_status, 'draft') in ('draft', 'cancelled')
          then invoice.invoice_status
        when coalesce(paid.amount, 0) >= invoice.total_amount then 'paid'
        when paid.amount > 0 then 'partially_paid'
        when invoice.invoice_status in ('sent', 'overdue') then invoice.invoice_status
        else 'sent'
      end as true_status
    from public.invoice_metadata as invoice
    left join paid on invoice.id = paid.invoice_id
  )

  select
    'payment_amounts_valid', 'payment', payment.id::text,
    'above 0, below 10^10, at most two decimals', payment.amount::text
  from public.payments as payment
  where not (
    payment.amount > 0 and payment.amount < 10000000000
    and payment.amount = round(payment.amount, 2)
  )
  union all
  select
    'invoice_totals_valid', 'invoice', invoice.id::text,
    '0 or more, below 10^10, at most two decimals', invoice.total_amount::text
  from public.invoice_metadata as invoice
  where not (
    invoice.total_amount >= 0 and invoice.total_amount < 10000000000
    and invoice.total_amount = round(invoice.total_amount, 2)
  )
  union all
  select
    'allocation_amounts_valid', allocation.entity, allocation.id::text,
    'above 0, below 10^10, at most two decimals', allocation.amount::text
  from allocation
  where not (
    allocation.amount > 0 and allocation.amount < 10000000000
    and allocation.amount = round(allocation.amount, 2)
  )
  union all
  select
    'allocations_two_sided', allocation.entity, allocation.id::text,
    'a payment and what it pays',
    case when allocation.payment_id is null then 'no payment' else 'nothing that it pays' end
  from allocation
  where allocation.payment_id is null or allocation.target_id is null
  union all
  select
    'payments_within_amount', 'payment', payment.id::text,
    'at most ' || payment.amount, payment.allocated || ' allocated'
  from payment_truth as payment
  where payment.allocated > payment.amount
  union all
  select
    'invoices_within_total', 'invoice', invoice.id::text,
    'at most ' || invoice.total_amount, invoice.allocated || ' allocated'
  from invoice_truth as invoice
  where invoice.allocated > invoice.total_amount
  union all
  select
    'payment_totals_true', 'payment', payment.id::text,
    concat_ws(
      ', ', payment.allocated || ' applied', payment.amount - payment.allocated || ' unapplied',
      payment.true_status
    ),
    concat_ws(
      ', ', coalesce(payment.amount_applied::text, 'null') || ' applied',
      coalesce(payment.amount_unapplied::text, 'null') || ' unapplied',
      coalesce(payment.allocation_status, 'null')
    )
  from payment_truth as payment
  where payment.amount_applied is distinct from payment.allocated
    or payment.amount_unapplied is distinct from payment.amount - payment.allocated
    or payment.allocation_status is distinct from payment.true_status
  union all
  select
    'invoice_totals_true', 'invoice', invoice.id::text,
    concat_ws(
      ', ', invoice.allocated || ' paid',
      invoice.total_amount - invoice.allocated || ' outstanding',
      coalesce(invoice.true_status, 'null'),
      'last ' || coalesce(invoice.true_date::text, 'never')
    ),
    concat_ws(
      ', ', coalesce(invoice.amount_paid::text, 'null') || ' paid',
      coalesce(invoice.amount_outstanding::text, 'null') || ' outstanding',
      coalesce(invoice.invoice_status, 'null'),
      'last ' || coalesce(invoice.last_payment_date::text, 'never')
    )
  from invoice_truth as invoice
  where invoice.amount_paid is distinct from invoice.allocated
    or invoice.amount_outstanding is distinct from invoice.total_amount - invoice.allocated
    or invoice.invoice_status is distinct from invoice.true_status
    or invoice.last_payment_date is distinct from invoice.true_date
  union all
  select
    'allocations_within_one_customer', 'invoice_payment', allocation.id::text,
    'payment and invoice of one customer',
    'payment of ' || coalesce(payment.customer_id::text, 'nobody')
    || ', invoice of ' || invoice.customer_id
  from public.invoice_payments as allocation
  inner join public.payments as payment on allocation.payment_id = payment.id
  inner join public.invoice_metadata as invoice on allocation.invoice_id = invoice.id
  where payment.customer_id is distinct from invoice.customer_id
  union all
  select
    'payments_allocated_have_customer', 'payment', payment.id::text,
    'a customer, or nothing allocated', payment.allocated || ' allocated'
  from payment_truth as payment
  where payment.customer_id is null and payment.allocated <> 0
  union all
  select
    'cancelled_invoices_hold_nothing', 'invoice', invoice.id::text,
    'nothing allocated', invoice.allocated || ' allocated'
  from invoice_truth as invoice
  where invoice.invoice_status = 'cancelled' and invoice.allocated <> 0
  union all
  select
    'money_conserved', 'dairy', null,
    sum(payment.amount) || ' received',
    sum(payment.allocated) || ' allocated, ' || sum(payment.amount_unapplied) || ' unapplied'
  from payment_truth as payment
  where payment.amount < 'Infinity' -- which NaN is not either
  having sum(payment.amount)
    is distinct from sum(payment.allocated) + sum(coalesce(payment.amount_unapplied, 0));
end;
$$;

comment on function private.check_payments() is
'Every broken invariant of payments as a row; none when all is well.';

revoke all on function private.check_payments() from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/privileges/default_privileges.sql sha256:a2c0f5a2b7d056bf4e120667d8e9497e6111a02f83cff951b5ba21bd54258e86
-- What is granted on new objects that the current role makes: where nothing has been said about it,
-- what Postgres grants by itself.
--
-- p_schema: as regnamespace writes it; '' for all schemas.
-- p_kind: tables, sequences or functions.
-- Locks: none.

create or replace function private.default_privileges(p_schema text, p_kind text)
returns aclitem[]
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_kind "char" := case p_kind when 'tables' then 'r' when 'sequences' then 'S' else 'f' end;
  v_owner oid := (select role.oid from pg_roles as role where role.rolname = current_user);
begin
  -- return
  return coalesce(
    (
      select said.defaclacl
      from pg_default_acl as said
      where said.defaclrole = v_owner
        and said.defaclobjtype = v_kind
        and said.defaclnamespace = coalesce(to_regnamespace(nullif(p_schema, ''))::oid, 0)
    ),
    -- what a schema says comes on top of what holds for all of them
    case
      when p_schema <> '' then '{}'
      else acldefault(case v_kind when 'S' then 's' else v_kind end, v_owner)
    end
  );
end;
$$;

comment on function private.default_privileges(text, text) is
'What is granted on new objects of the current role, in a schema or in all of them.';

revoke all on function private.default_privileges(text, text)
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/privileges/remember_default_privileges.sql sha256:add632d7108034f1c98594c6336441496529d30898849313d85f1f26f5deed4a
-- Remembers what is granted on new objects of the current role, in a schema or in all of them, for
-- a migration that is about to change it: it differs from project to project.
--
-- p_schema: as regnamespace writes it; '' for all schemas.
-- p_kinds: of tables, sequences, functions.
-- Locks: none.

create or replace function private.remember_default_privileges(
  p_migration text,
  p_schema text,
  p_kinds text[]
)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- write
  insert into private.privileges_before (migration, kind, object, part, privileges)
  select
    p_migration,
    'default',
    p_schema,
    named.kind,
    private.default_privileges(p_schema, named.kind)
  from unnest(p_kinds) as named (kind);
end;
$$;

comment on function private.remember_default_privileges(text, text, text[]) is
'Remembers what is granted on new objects of the current role, for a migration that changes it.';

revoke all on function private.remember_default_privileges(text, text, text[])
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/privileges/remember_privileges.sql sha256:700b3f91242c4fbbfa96dc9dd3fdf01e63f8c24f2feef10733945889915074c6
-- Remembers who may use functions and tables that a migration is about to grant or revoke anew,
-- although it did not make them: which privileges were there differs from project to project.
-- A table's columns are remembered with it, since revoking from the table takes theirs as well.
--
-- Refused is an object whose privileges its owner could not restore exactly: one on which somebody
-- else has granted something.
--
-- p_functions, p_tables: as regprocedure and regclass write them.
-- Locks: none.

create or replace function private.remember_privileges(
  p_migration text,
  p_functions regprocedure[],
  p_tables regclass[] default '{}'
)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_object text;
begin
  -- write
  insert into private.privileges_before (migration, kind, object, part, privileges)
  select
    p_migration,
    'function',
    found.oid::regprocedure::text,
    '',
    coalesce(found.proacl, acldefault('f', found.proowner))
  from pg_proc as found
  where found.oid = any(p_functions)
  union all
  select
    p_migration,
    'table',
    found.oid::regclass::text,
    '',
    coalesce(found.relacl, acldefault('r', found.relowner))
  from pg_class as found
  where found.oid = any(p_tables)
  union all
  select p_migration, 'column', found.attrelid::regclass::text, found.attname, found.attacl
  from pg_attribute as found
  where found.attrelid = any(p_tables) and found.attacl is not null and not found.attisdropped;

  -- check
  select remembered.object into v_object
  from private.privileges_before as remembered
  cross join lateral aclexplode(nullif(remembered.privileges, '{}')) as held
  where remembered.migration = p_migration
    and held.grantor <> (select role.oid from pg_roles as role where role.rolname = current_user)
  order by remembered.object
  limit 1;

  if found then
    raise exception using
      errcode = '0LP01',
      message = format(
        'privileges on %s were granted by another role than %s', v_object, current_user
      ),
      hint = 'A rollback could not restore them exactly; grant them as the owner instead.';
  end if;
end;
$$;

comment on function private.remember_privileges(text, regprocedure[], regclass[]) is
'Remembers the privileges of functions and tables that a migration changes without making them.';

revoke all on function private.remember_privileges(text, regprocedure[], regclass[])
from public, anon, authenticated, service_role;
-- <<<

-- >>> sql/functions/privileges/restore_privileges.sql sha256:a26dd5c0b617e5d1c89210019402401462ddec1800c7faacc27b801235f7ed06
-- Restores what remember_privileges and remember_default_privileges kept for a migration, and
-- forgets it: for that migration's rollback. Runs as the owner of the objects. What has been
-- dropped meanwhile is left alone.
--
-- Everything is taken back first, from the owner as well, and then granted in the order that was.
--
-- Locks: the catalog rows of the objects.

create or replace function private.restore_privileges(p_migration text)
returns void
language plpgsql
volatile
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_object record;
  v_grant record;
begin
  -- write
  for v_object in
    select
      case remembered.kind
        when 'default' then format(
          'alter default privileges %s',
          case when remembered.object <> '' then 'in schema ' || remembered.object || ' ' end
        )
        else ''
      end as prefix,
      case remembered.kind when 'column' then format(' (%I)', remembered.part) end as part,
      case remembered.kind
        when 'default' then remembered.part
        when 'column' then 'table ' || remembered.object
        else remembered.kind || ' ' || remembered.object
      end as name,
      remembered.privileges,
      present.privileges as privileges_now
    from private.privileges_before as remembered
    inner join lateral (
      select coalesce(found.proacl, acldefault('f', found.proowner)) as privileges
      from pg_proc as found
      where remembered.kind = 'function' and found.oid = to_regprocedure(remembered.object)
      union all
      select coalesce(found.relacl, acldefault('r', found.relowner))
      from pg_class as found
      where remembered.kind = 'table' and found.oid = to_regclass(remembered.object)
      union all
      select found.attacl
      from pg_attribute as found
      where remembered.kind = 'column'
        and found.attrelid = to_regclass(remembered.object)
        and found.attname = remembered.part
        and not found.attisdropped
      union all
      select private.default_privileges(remembered.object, remembered.part)
      where remembered.kind = 'default'
    ) as present on true
    where remembered.migration = p_migration
    -- a column after its table, from which everything is taken
    order by remembered.kind = 'column', remembered.kind, remembered.object, remembered.part
  loop
    -- dynamic: a grant can't be parameterised; names come from the catalog alone
    for v_grant in
      select distinct held.grantee
      from aclexplode(nullif(v_object.privileges_now, '{}')) as held
    loop
      execute format(
        '%srevoke all%s on %s from %s',
        v_object.prefix, v_object.part, v_object.name,
        case when v_grant.grantee = 0 then 'public' else v_grant.grantee::regrole::text end
      );
    end loop;

    for v_grant in
      select held.grantee, held.privilege_type, held.is_grantable
      from aclexplode(nullif(v_object.privileges, '{}')) with ordinality as held (
        grantor, grantee, privilege_type, is_grantable, position
      )
      order by held.position
    loop
      execute format(
        '%sgrant %s%s on %s to %s%s',
        v_object.prefix, v_grant.privilege_type, v_object.part, v_object.name,
        case when v_grant.grantee = 0 then 'public' else v_grant.grantee::regrole::text end,
        case when v_grant.is_grantable then ' with grant option' else '' end
      );
    end loop;
  end loop;

  delete from private.privileges_before as remembered
  where remembered.migration = p_migration;
end;
$$;

comment on function private.restore_privileges(text) is
'Restores the privileges that remember_privileges kept for a migration; for its rollback.';

revoke all on function private.restore_privileges(text)
from public, anon, authenticated, service_role;
-- <<<
