-- Hardening: who may do what, for everything that the gaps did not touch.
--
-- After this file anon may do nothing; authenticated (the dairy's staff) and service_role read every
-- table, write the tables that the app writes, and execute the functions; row level security is on
-- everywhere; and what is made later is nobody's until a migration says whose.
-- docs/gaps/harden_access.md has the whole table.
--
-- What was there differs from project to project, so it is remembered first: the rollback restores
-- exactly that.
--
-- Locks: enabling row security and creating a policy take access exclusive on three tables
-- (invoice_line_items, invoice_payments, unapplied_payments), from the last section to the commit.
-- Privileges lock no table.

-- what was there ----------------------------------------------------------------------------------

select private.remember_privileges(
  '20250927000000_harden_access',
  array[
    'public.delete_invoice_and_revert_sales(uuid)',
    'public.get_next_invoice_sequence(text)',
    'public.update_invoice_status(uuid)',
    'public.update_invoice_status_with_sales_completion(uuid)'
  ]::regprocedure[],
  array[
    'public.base_subscriptions',
    'public.customers',
    'public.daily_orders',
    'public.deliveries',
    'public.invoice_line_items',
    'public.invoice_metadata',
    'public.invoice_payments',
    'public.modifications',
    'public.opening_balance_payments',
    'public.payments',
    'public.product_pricing_history',
    'public.products',
    'public.routes',
    'public.sales',
    'public.sales_payments',
    'public.unapplied_payments'
  ]::regclass[]
);

select private.remember_default_privileges(
  '20250927000000_harden_access', 'public', array['tables', 'sequences', 'functions']
);
select private.remember_default_privileges(
  '20250927000000_harden_access', '', array['tables', 'sequences', 'functions']
);

-- functions that were there before the gaps -------------------------------------------------------

revoke all on function
public.delete_invoice_and_revert_sales(uuid),
public.get_next_invoice_sequence(text),
public.update_invoice_status(uuid),
public.update_invoice_status_with_sales_completion(uuid)
from public, anon, authenticated, service_role;

grant execute on function
public.delete_invoice_and_revert_sales(uuid),
public.get_next_invoice_sequence(text),
public.update_invoice_status(uuid),
public.update_invoice_status_with_sales_completion(uuid)
to authenticated, service_role;

-- tables that the app writes ----------------------------------------------------------------------
-- unapplied_payments is among them although the database keeps it: the app inserts, updates and
-- deletes its rows, and triggers put the truth, whatever it says.

revoke all on table
public.base_subscriptions,
public.customers,
public.daily_orders,
public.deliveries,
public.invoice_line_items,
public.invoice_metadata,
public.invoice_payments,
public.modifications,
public.opening_balance_payments,
public.payments,
public.product_pricing_history,
public.products,
public.routes,
public.sales,
public.sales_payments,
public.unapplied_payments
from public, anon, authenticated, service_role;

grant select, insert, update, delete on table
public.base_subscriptions,
public.customers,
public.daily_orders,
public.deliveries,
public.invoice_line_items,
public.invoice_metadata,
public.invoice_payments,
public.modifications,
public.opening_balance_payments,
public.payments,
public.product_pricing_history,
public.products,
public.routes,
public.sales,
public.sales_payments,
public.unapplied_payments
to authenticated, service_role;

-- what is made later ------------------------------------------------------------------------------
-- New objects of the owner belong to nobody else until they are granted. That everybody may execute
-- a new function is Postgres's own default, which only the form for all schemas takes back.

alter default privileges in schema public
revoke all on tables from public, anon, authenticated, service_role;
alter default privileges in schema public
revoke all on sequences from public, anon, authenticated, service_role;
alter default privileges in schema public
revoke all on functions from public, anon, authenticated, service_role;
alter default privileges
revoke all on tables from public, anon, authenticated, service_role;
alter default privileges
revoke all on sequences from public, anon, authenticated, service_role;
alter default privileges
revoke all on functions from public, anon, authenticated, service_role;

-- row level security, where it was off ------------------------------------------------------------
-- The policy of the other tables: whoever is signed in is the dairy's staff and sees every row.

alter table public.invoice_line_items enable row level security;
alter table public.invoice_payments enable row level security;
alter table public.unapplied_payments enable row level security;

create policy "Allow all for authenticated" on public.invoice_line_items
for all to authenticated using (true) with check (true);
create policy "Allow all for authenticated" on public.invoice_payments
for all to authenticated using (true) with check (true);
create policy "Allow all for authenticated" on public.unapplied_payments
for all to authenticated using (true) with check (true);
