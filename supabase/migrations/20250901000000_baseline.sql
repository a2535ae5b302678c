-- The live schema of the dairy on the day the work starts, before any gap is fixed.
--
-- irreversible: the history starts here; there is nothing before it to go back to
--
-- It is written down as it is found, weaknesses included: bare numerics, amounts without checks,
-- cached totals that anybody may write, row level security off where it is off, functions that
-- trust what they read. The gaps mend them one by one; this file is never edited. On a database
-- that has these tables already it is marked as applied (`pymilk adopt`) instead of being run.
--
-- No explicit grants: on Supabase the default privileges of the schema give them.

create table public.routes (
  id uuid primary key default gen_random_uuid(),
  name text not null,
  description text,
  personnel_name text,
  created_at timestamptz default now(),
  updated_at timestamptz default now()
);

create table public.products (
  id uuid primary key default gen_random_uuid(),
  name text not null,
  code text not null unique,
  current_price numeric not null,
  unit text default 'liter',
  gst_rate numeric default 0 check (gst_rate >= 0 and gst_rate <= 30),
  unit_of_measure text,
  is_subscription_product boolean default false,
  created_at timestamptz default now(),
  updated_at timestamptz default now()
);

create table public.customers (
  id uuid primary key default gen_random_uuid(),
  billing_name text not null,
  contact_person text,
  address text,
  phone_primary text,
  phone_secondary text,
  phone_tertiary text,
  route_id uuid references public.routes (id),
  delivery_time text check (delivery_time in ('Morning', 'Evening')),
  payment_method text check (payment_method in ('Monthly', 'Prepaid')),
  billing_cycle_day integer check (billing_cycle_day >= 1 and billing_cycle_day <= 31),
  opening_balance numeric default 0 check (opening_balance >= 0),
  status text default 'Active' check (status in ('Active', 'Inactive')),
  created_at timestamptz default now(),
  updated_at timestamptz default now()
);

create table public.base_subscriptions (
  id uuid primary key default gen_random_uuid(),
  customer_id uuid references public.customers (id),
  product_id uuid references public.products (id),
  subscription_type text check (subscription_type in ('Daily', 'Pattern')),
  daily_quantity numeric,
  pattern_day1_quantity numeric,
  pattern_day2_quantity numeric,
  pattern_start_date date,
  is_active boolean default true,
  created_at timestamptz default now(),
  updated_at timestamptz default now()
);

create table public.modifications (
  id uuid primary key default gen_random_uuid(),
  customer_id uuid references public.customers (id),
  product_id uuid references public.products (id),
  modification_type text check (modification_type in ('Skip', 'Increase', 'Decrease', 'Add Note')),
  start_date date not null,
  end_date date not null,
  quantity_change numeric,
  reason text,
  is_active boolean default true,
  created_at timestamptz default now(),
  updated_at timestamptz default now()
);

create table public.daily_orders (
  id uuid primary key default gen_random_uuid(),
  customer_id uuid references public.customers (id),
  product_id uuid references public.products (id),
  order_date date not null,
  planned_quantity numeric not null,
  unit_price numeric not null,
  total_amount numeric not null,
  route_id uuid references public.routes (id),
  delivery_time text check (delivery_time in ('Morning', 'Evening')),
  status text default 'Pending' check (status in ('Pending', 'Generated', 'Delivered')),
  created_at timestamptz default now(),
  updated_at timestamptz default now(),
  unique (customer_id, product_id, order_date)
);

create table public.deliveries (
  id uuid primary key default gen_random_uuid(),
  daily_order_id uuid references public.daily_orders (id),
  customer_id uuid not null references public.customers (id),
  product_id uuid not null references public.products (id),
  route_id uuid not null references public.routes (id),
  order_date date not null,
  planned_quantity numeric,
  actual_quantity numeric,
  unit_price numeric not null,
  total_amount numeric not null,
  delivery_status text default 'pending'
  check (delivery_status in ('pending', 'delivered', 'cancelled')),
  delivery_time text,
  delivery_notes text,
  delivered_at timestamptz,
  delivery_person text,
  created_at timestamptz default now(),
  updated_at timestamptz default now()
);

create table public.sales (
  id uuid primary key default gen_random_uuid(),
  customer_id uuid references public.customers (id),
  product_id uuid not null references public.products (id),
  quantity numeric not null check (quantity > 0),
  unit_price numeric not null check (unit_price > 0),
  total_amount numeric not null check (total_amount > 0),
  sale_type text not null check (sale_type in ('Cash', 'Credit', 'QR')),
  notes text,
  gst_amount numeric default 0,
  sale_date date not null default current_date,
  payment_status text not null default 'Completed'
  check (payment_status in ('Completed', 'Pending', 'Billed')),
  created_at timestamptz default now(),
  updated_at timestamptz default now(),
  constraint sales_type_rules check (
    (sale_type in ('Cash', 'QR') and customer_id is null and payment_status = 'Completed')
    or (sale_type = 'Credit' and customer_id is not null)
  )
);

create table public.invoice_metadata (
  id uuid primary key default gen_random_uuid(),
  invoice_number text unique,
  customer_id uuid not null references public.customers (id),
  invoice_date date not null,
  period_start date not null,
  period_end date not null,
  total_amount numeric not null,
  subscription_amount numeric default 0,
  manual_sales_amount numeric default 0,
  gst_amount numeric default 0,
  file_path text,
  status text default 'Generated' check (status in ('Generated', 'Sent', 'Paid')),
  due_date date,
  last_payment_date date,
  invoice_status text default 'draft'
  check (invoice_status in ('draft', 'sent', 'paid', 'partially_paid', 'overdue', 'cancelled')),
  amount_paid numeric default 0,
  amount_outstanding numeric default 0,
  created_at timestamptz default now(),
  updated_at timestamptz default now()
);

create table public.invoice_line_items (
  id uuid primary key default gen_random_uuid(),
  invoice_id uuid references public.invoice_metadata (id),
  line_item_type text check (line_item_type in ('subscription', 'manual_sale', 'adjustment')),
  delivery_id uuid references public.deliveries (id),
  sale_id uuid references public.sales (id),
  order_id uuid references public.daily_orders (id),
  product_id uuid references public.products (id),
  product_name text,
  quantity numeric,
  unit_price numeric,
  line_total numeric,
  gst_rate numeric default 0,
  gst_amount numeric default 0,
  created_at timestamptz default now(),
  updated_at timestamptz default now()
);

create table public.payments (
  id uuid primary key default gen_random_uuid(),
  customer_id uuid references public.customers (id),
  amount numeric not null,
  payment_date date not null,
  payment_method text,
  period_start date,
  period_end date,
  notes text,
  primary_invoice_id uuid references public.invoice_metadata (id),
  allocation_status text default 'unapplied'
  check (allocation_status in ('unapplied', 'partially_applied', 'fully_applied')),
  amount_applied numeric default 0,
  amount_unapplied numeric,
  created_at timestamptz default now(),
  updated_at timestamptz default now()
);

create table public.invoice_payments (
  id uuid primary key default gen_random_uuid(),
  invoice_id uuid references public.invoice_metadata (id),
  payment_id uuid references public.payments (id),
  amount_allocated numeric not null check (amount_allocated > 0),
  notes text,
  allocation_date timestamptz default now(),
  created_at timestamptz default now(),
  updated_at timestamptz default now(),
  unique (invoice_id, payment_id)
);

create table public.unapplied_payments (
  id uuid primary key default gen_random_uuid(),
  customer_id uuid not null references public.customers (id),
  payment_id uuid not null references public.payments (id),
  amount_unapplied numeric not null check (amount_unapplied > 0),
  reason text,
  created_at timestamptz default now()
);

create table public.opening_balance_payments (
  id uuid primary key default gen_random_uuid(),
  customer_id uuid references public.customers (id),
  payment_id uuid references public.payments (id),
  amount numeric not null check (amount > 0),
  allocated_at timestamptz default now(),
  created_at timestamptz default now(),
  updated_at timestamptz default now(),
  unique (payment_id, customer_id)
);

create table public.sales_payments (
  id uuid primary key default gen_random_uuid(),
  sales_id uuid references public.sales (id),
  payment_id uuid references public.payments (id),
  amount_allocated numeric not null check (amount_allocated > 0),
  created_at timestamptz default now(),
  updated_at timestamptz default now(),
  unique (sales_id, payment_id)
);

create table public.product_pricing_history (
  id uuid primary key default gen_random_uuid(),
  product_id uuid references public.products (id),
  price numeric not null,
  effective_date date not null,
  created_at timestamptz default now(),
  updated_at timestamptz default now()
);

create index idx_customers_route on public.customers (route_id);
create index idx_customers_status on public.customers (status);
create index idx_base_subscriptions_customer on public.base_subscriptions (customer_id);
create index idx_modifications_customer_dates
on public.modifications (customer_id, start_date, end_date);
create index idx_daily_orders_date on public.daily_orders (order_date);
create index idx_daily_orders_route_date on public.daily_orders (route_id, order_date);
create index idx_deliveries_customer_date on public.deliveries (customer_id, order_date);
create index idx_deliveries_daily_order on public.deliveries (daily_order_id);
create index idx_sales_customer_date on public.sales (customer_id, sale_date);
create index idx_sales_payment_status on public.sales (payment_status);
create index idx_invoice_metadata_customer on public.invoice_metadata (customer_id);
create index idx_invoice_metadata_status on public.invoice_metadata (invoice_status);
create index idx_invoice_line_items_invoice on public.invoice_line_items (invoice_id);
create index idx_payments_customer on public.payments (customer_id);
create index idx_payments_date on public.payments (payment_date);
create index idx_invoice_payments_payment on public.invoice_payments (payment_id);
create index idx_unapplied_payments_customer on public.unapplied_payments (customer_id);
create index idx_unapplied_payments_payment on public.unapplied_payments (payment_id);
create index idx_sales_payments_payment on public.sales_payments (payment_id);
create index idx_product_pricing_history_product
on public.product_pricing_history (product_id, effective_date);

-- Row level security: one blanket policy a table. Off on invoice_line_items, invoice_payments and
-- unapplied_payments, where anybody with a grant reads and writes everything.
alter table public.routes enable row level security;
alter table public.products enable row level security;
alter table public.customers enable row level security;
alter table public.base_subscriptions enable row level security;
alter table public.modifications enable row level security;
alter table public.daily_orders enable row level security;
alter table public.deliveries enable row level security;
alter table public.sales enable row level security;
alter table public.invoice_metadata enable row level security;
alter table public.payments enable row level security;
alter table public.opening_balance_payments enable row level security;
alter table public.sales_payments enable row level security;
alter table public.product_pricing_history enable row level security;

create policy "Allow all for authenticated" on public.routes
for all to authenticated using (true) with check (true);
create policy "Allow all for authenticated" on public.products
for all to authenticated using (true) with check (true);
create policy "Allow all for authenticated" on public.customers
for all to authenticated using (true) with check (true);
create policy "Allow all for authenticated" on public.base_subscriptions
for all to authenticated using (true) with check (true);
create policy "Allow all for authenticated" on public.modifications
for all to authenticated using (true) with check (true);
create policy "Allow all for authenticated" on public.daily_orders
for all to authenticated using (true) with check (true);
create policy "Allow all for authenticated" on public.deliveries
for all to authenticated using (true) with check (true);
create policy "Allow all for authenticated" on public.sales
for all to authenticated using (true) with check (true);
create policy "Allow all for authenticated" on public.invoice_metadata
for all to authenticated using (true) with check (true);
create policy "Allow all for authenticated" on public.payments
for all to authenticated using (true) with check (true);
create policy "Allow all for authenticated" on public.opening_balance_payments
for all to authenticated using (true) with check (true);
create policy "Allow all for authenticated" on public.sales_payments
for all to authenticated using (true) with check (true);
create policy "Allow all for authenticated" on public.product_pricing_history
for all to authenticated using (true) with check (true);

-- An unknown customer owes nothing, it seems: what is missing reads as zero.
create function public.calculate_customer_outstanding(customer_uuid uuid)
returns numeric
language plpgsql
as $$
declare
  opening numeric;
  opening_paid numeric;
  invoices numeric;
begin
  select coalesce(opening_balance, 0) into opening
  from public.customers where id = customer_uuid;

  select coalesce(sum(amount), 0) into opening_paid
  from public.opening_balance_payments where customer_id = customer_uuid;

  select coalesce(sum(amount_outstanding), 0) into invoices
  from public.invoice_metadata
  where customer_id = customer_uuid
    and invoice_status in ('sent', 'partially_paid', 'overdue');

  return coalesce(opening, 0) - opening_paid + invoices;
end;
$$;

-- The last writer wins: the sum is read without a lock and written over whatever is there.
create function public.update_invoice_status(invoice_uuid uuid)
returns void
language plpgsql
as $$
declare
  total numeric;
  paid numeric;
  due date;
  latest date;
begin
  select total_amount, due_date into total, due
  from public.invoice_metadata where id = invoice_uuid;

  select coalesce(sum(ip.amount_allocated), 0), max(p.payment_date) into paid, latest
  from public.invoice_payments as ip
  join public.payments as p on p.id = ip.payment_id
  where ip.invoice_id = invoice_uuid;

  update public.invoice_metadata
  set
    amount_paid = paid,
    amount_outstanding = total - paid,
    last_payment_date = latest,
    invoice_status = case
      when invoice_status = 'cancelled' then 'cancelled'
      when paid >= total then 'paid'
      when paid > 0 then 'partially_paid'
      when invoice_status = 'draft' then 'draft'
      when due < current_date then 'overdue'
      else 'sent'
    end,
    updated_at = now()
  where id = invoice_uuid;
end;
$$;

-- An invoice that becomes paid completes its Credit sales; one that is no longer paid bills them
-- again. Two callers at once each act on what they read.
create function public.update_invoice_status_with_sales_completion(p_invoice_id uuid)
returns void
language plpgsql
as $$
declare
  old_status text;
  new_status text;
begin
  select invoice_status into old_status from public.invoice_metadata where id = p_invoice_id;

  perform public.update_invoice_status(p_invoice_id);

  select invoice_status into new_status from public.invoice_metadata where id = p_invoice_id;

  if new_status = 'paid' and old_status is distinct from 'paid' then
    update public.sales
    set payment_status = 'Completed', updated_at = now()
    where sale_type = 'Credit'
      and payment_status = 'Billed'
      and id in (
        select sale_id from public.invoice_line_items
        where invoice_id = p_invoice_id and sale_id is not null
      );
  elsif old_status = 'paid' and new_status is distinct from 'paid' then
    update public.sales
    set payment_status = 'Billed', updated_at = now()
    where sale_type = 'Credit'
      and payment_status = 'Completed'
      and id in (
        select sale_id from public.invoice_line_items
        where invoice_id = p_invoice_id and sale_id is not null
      );
  end if;
end;
$$;

-- The highest number in use plus one, without a lock: two callers get the same.
create function public.get_next_invoice_sequence(year_code text)
returns integer
language plpgsql
as $$
declare
  highest integer;
begin
  select coalesce(max(substring(invoice_number from length(year_code) + 1)::integer), 0)
  into highest
  from public.invoice_metadata
  where invoice_number like year_code || '%';

  return highest + 1;
end;
$$;

-- Reverts sales by the invoice's date range, whichever invoice had billed them.
create function public.delete_invoice_and_revert_sales(p_invoice_id uuid)
returns jsonb
language plpgsql
as $$
declare
  invoice public.invoice_metadata%rowtype;
  reverted integer;
  removed integer;
begin
  select * into invoice from public.invoice_metadata where id = p_invoice_id;
  if not found then
    return jsonb_build_object('success', false, 'error', 'Invoice not found');
  end if;

  update public.sales
  set payment_status = 'Pending', updated_at = now()
  where customer_id = invoice.customer_id
    and sale_type = 'Credit'
    and payment_status in ('Billed', 'Completed')
    and sale_date between invoice.period_start and invoice.period_end;
  get diagnostics reverted = row_count;

  delete from public.invoice_line_items where invoice_id = p_invoice_id;
  get diagnostics removed = row_count;

  delete from public.invoice_metadata where id = p_invoice_id;

  return jsonb_build_object(
    'success', true,
    'invoice_number', invoice.invoice_number,
    'reverted_sales_count', reverted,
    'deleted_line_items_count', removed
  );
end;
$$;
