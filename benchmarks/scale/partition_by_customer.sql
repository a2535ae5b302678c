-- An experiment, not a migration of the dairy's: its two large tables, daily_orders and deliveries,
-- as hash partitions by customer, under every function, trigger and policy as they are.
--
-- What a partitioned table asks for, and so what changes:
--   * its primary key holds the customer: (id, customer_id). An order without a customer, which the
--     live schema allows and nothing makes, is none any more.
--   * a foreign key onto it names both columns. So whoever points at an order or a delivery keeps
--     whose it is beside its id: order_customer_id, delivery_customer_id, filled in by a trigger, so
--     that nobody who writes lines or deliveries changes. They follow when an order or a delivery
--     goes to another customer: as the customer of the line's invoice they would forbid it, and
--     refuse before the rules that say why.
--
-- Locks: access exclusive on the three tables, until the end. On live data one would fill the
-- partitions beside the tables first, and swap; here the rows are copied.

create function pg_temp.partition_by_customer(p_table regclass, p_partitions integer)
returns void
language plpgsql
as $$
declare
  v_name text := (select c.relname from pg_class as c where c.oid = p_table);
  v_again text[];
  v_one text;
  v_columns text;
begin
  -- What `like` doesn't copy, written down before the name goes to the new table.
  select array_agg(x.statement order by x.place) into v_again
  from (
    select 1, pg_get_triggerdef(t.oid)
    from pg_trigger as t where t.tgrelid = p_table and not t.tgisinternal
    union all
    select 2, pg_get_indexdef(i.indexrelid)
    from pg_index as i where i.indrelid = p_table and not i.indisunique
    union all
    select
      3,
      format(
        'create policy %I on %s as permissive for %s to %s using (%s) with check (%s)',
        p.polname, p_table, case p.polcmd when '*' then 'all' when 'r' then 'select' end,
        (
          select string_agg(case when u = 0 then 'public' else u::regrole::text end, ', ')
          from unnest(p.polroles) as u
        ),
        coalesce(pg_get_expr(p.polqual, p.polrelid), 'true'),
        coalesce(pg_get_expr(p.polwithcheck, p.polrelid), 'true')
      )
    from pg_policy as p where p.polrelid = p_table
    union all
    select
      4,
      format(
        'grant %s on %s to %s', a.privilege_type, p_table,
        case when a.grantee = 0 then 'public' else a.grantee::regrole::text end
      )
    from pg_class as c cross join lateral aclexplode(c.relacl) as a
    where c.oid = p_table
    union all
    select
      5, format('alter table %s add constraint %I %s', p_table, f.conname, pg_get_constraintdef(f.oid))
    from pg_constraint as f
    where
      f.conrelid = p_table and f.contype = 'f'
      and f.confrelid in ('customers'::regclass, 'products'::regclass, 'routes'::regclass)
    union all
    select 6, format('alter table %s add constraint %I %s', p_table, u.conname, pg_get_constraintdef(u.oid))
    from pg_constraint as u
    where u.conrelid = p_table and u.contype = 'u'
  ) as x (place, statement);

  execute format('alter table %s rename to %I', p_table, v_name || '_whole');
  execute format(
    'create table public.%I (like public.%I including all excluding indexes)'
    ' partition by hash (customer_id)',
    v_name, v_name || '_whole'
  );
  execute format('alter table public.%I alter column customer_id set not null', v_name);
  execute format('alter table public.%I enable row level security', v_name);
  execute format('revoke all on public.%I from public, anon, authenticated, service_role', v_name);
  for v_number in 0 .. p_partitions - 1 loop
    -- Reached by way of the whole alone: what the API may do stands there.
    execute format(
      'create table private.%I partition of public.%I for values with (modulus %s, remainder %s)',
      v_name || '_' || v_number, v_name, p_partitions, v_number
    );
  end loop;
  select string_agg(quote_ident(a.attname), ', ' order by a.attnum) into v_columns
  from pg_attribute as a
  where a.attrelid = p_table and a.attnum > 0 and not a.attisdropped and a.attgenerated = '';
  execute format(
    'insert into public.%I (%s) select %s from public.%I', v_name, v_columns, v_columns,
    v_name || '_whole'
  );
  execute format('drop table public.%I', v_name || '_whole');
  execute format('alter table public.%I add primary key (id, customer_id)', v_name);
  foreach v_one in array v_again loop
    execute v_one;
  end loop;
end;
$$;

alter table public.invoice_line_items
drop constraint invoice_line_items_delivery_id_fkey,
drop constraint invoice_line_items_order_id_fkey,
add column delivery_customer_id uuid,
add column order_customer_id uuid;
alter table public.deliveries
drop constraint deliveries_daily_order_id_fkey,
add column order_customer_id uuid;

update public.deliveries as d
set order_customer_id = o.customer_id
from public.daily_orders as o
where d.daily_order_id = o.id;
update public.invoice_line_items as l
set
  delivery_customer_id = (
    select d.customer_id from public.deliveries as d
    where d.id = l.delivery_id
  ),
  order_customer_id = (
    select o.customer_id from public.daily_orders as o
    where o.id = l.order_id
  );

select pg_temp.partition_by_customer('public.daily_orders', 8);
select pg_temp.partition_by_customer('public.deliveries', 8);

-- Runs as the owner: what a foreign key points at is found whoever may read it.
create function private.take_customer_of_order() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  new.order_customer_id := (
    select o.customer_id from public.daily_orders as o where o.id = new.daily_order_id
  );
  return new;
end;
$$;
create function private.take_customers_of_line() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  new.order_customer_id := (
    select o.customer_id from public.daily_orders as o where o.id = new.order_id
  );
  new.delivery_customer_id := (
    select d.customer_id from public.deliveries as d where d.id = new.delivery_id
  );
  return new;
end;
$$;
revoke all on function private.take_customer_of_order() from public, anon, authenticated;
revoke all on function private.take_customers_of_line() from public, anon, authenticated;

create trigger take_customer_of_order
before insert or update of daily_order_id, order_customer_id on public.deliveries
for each row execute function private.take_customer_of_order();
create trigger take_customers_of_line
before insert or update of delivery_id, order_id, delivery_customer_id, order_customer_id
on public.invoice_line_items
for each row execute function private.take_customers_of_line();

-- Full: an id that is nobody's has no customer beside it, and is refused for that.
alter table public.deliveries
add constraint deliveries_daily_order_id_fkey
foreign key (daily_order_id, order_customer_id)
references public.daily_orders (id, customer_id) match full on update cascade;
alter table public.invoice_line_items
add constraint invoice_line_items_delivery_id_fkey
foreign key (delivery_id, delivery_customer_id)
references public.deliveries (id, customer_id) match full on update cascade,
add constraint invoice_line_items_order_id_fkey
foreign key (order_id, order_customer_id)
references public.daily_orders (id, customer_id) match full on update cascade;
