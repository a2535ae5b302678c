-- A small dairy for `supabase start`: two rounds, nine products, twelve customers, one week.
--
-- Nobody in it exists: the town is invented, its PIN code and every telephone number begin with 0,
-- as no real one does. The big demo, with as many rows as the live dairy, is `pymilk db reset`'s.

insert into public.routes (name, description, personnel_name)
values
('Route 1 - Old Town', 'Surabhi Nagar, Old Bazaar, Temple Road', 'Ramesh Pawar'),
('Route 2 - Canal Side', 'Kamdhenu Colony, Canal Side, Shivaji Park', 'Santosh Yadav');

-- Prices in rupees, GST included.
insert into public.products (
  name, code, current_price, unit, gst_rate, unit_of_measure, is_subscription_product
)
values
('Cow Milk', 'CM', 58.00, 'liter', 0, 'liter', true),
('Buffalo Milk', 'BM', 74.00, 'liter', 0, 'liter', true),
('A2 Gir Cow Milk', 'A2', 96.00, 'liter', 0, 'liter', true),
('Curd', 'CURD', 90.00, 'kg', 5, 'kg', true),
('Buttermilk', 'BMLK', 40.00, 'liter', 5, 'liter', true),
('Lassi', 'LASSI', 120.00, 'liter', 5, 'liter', false),
('Paneer', 'PNR', 420.00, 'kg', 5, 'kg', false),
('White Butter', 'BTR', 560.00, 'kg', 12, 'kg', false),
('Cow Ghee', 'GHEE', 780.00, 'kg', 12, 'kg', false);

insert into public.product_pricing_history (product_id, price, effective_date)
select
  product.id,
  product.current_price,
  date '2025-09-01'
from public.products as product;

insert into public.customers (
  billing_name, address, phone_primary, route_id, delivery_time, payment_method,
  billing_cycle_day, opening_balance, status
)
select
  customer.billing_name,
  customer.door || ', Dugdhapur 000 001',
  '+91 00000 ' || lpad(customer.number::text, 5, '0'),
  route.id,
  customer.round,
  customer.terms,
  customer.billing_day,
  customer.owed,
  customer.status
from (
  values
  (1, 1, 'Asha Deshpande', 'C-305, Temple Road', 'Morning', 'Monthly', 1, 0.00, 'Active'),
  (2, 1, 'Gopal Reddy', 'D-105, Surabhi Nagar', 'Morning', 'Monthly', 1, 1520.00, 'Active'),
  (3, 1, 'Farida Shaikh', 'B-201, Old Bazaar', 'Evening', 'Monthly', 5, 0.00, 'Active'),
  (4, 1, 'Annapurna Tea Stall', 'Shop 14, Old Bazaar', 'Morning', 'Prepaid', 1, 0.00, 'Active'),
  (5, 1, 'Nilesh Sharma', 'C-307, Temple Road', 'Evening', 'Monthly', 1, 720.00, 'Active'),
  (6, 1, 'Hema Iyer', 'A-104, Surabhi Nagar', 'Morning', 'Monthly', 10, 0.00, 'Inactive'),
  (7, 2, 'Lata Shah', 'B-302, Kamdhenu Colony', 'Morning', 'Monthly', 1, 0.00, 'Active'),
  (8, 2, 'Rajesh Patil', 'D-203, Canal Side', 'Evening', 'Monthly', 7, 2060.00, 'Active'),
  (9, 2, 'Manisha Kale', 'B-405, Shivaji Park', 'Morning', 'Prepaid', 1, 0.00, 'Active'),
  (10, 2, 'Gokul Sweets', 'Shop 3, Canal Side', 'Morning', 'Monthly', 1, 3480.00, 'Active'),
  (11, 2, 'Vinod D''Souza', 'A-307, Kamdhenu Colony', 'Evening', 'Monthly', 1, 0.00, 'Active'),
  (12, 2, 'Usha Joshi', 'C-101, Shivaji Park', 'Evening', 'Monthly', 1, 0.00, 'Active')
) as customer (number, route, billing_name, door, round, terms, billing_day, owed, status)
inner join public.routes as route on route.name like 'Route ' || customer.route || ' %';

-- Litres or kilograms a day; a pattern gives the first quantity one day and the second the next.
insert into public.base_subscriptions (
  customer_id, product_id, subscription_type, daily_quantity,
  pattern_day1_quantity, pattern_day2_quantity, pattern_start_date, is_active
)
select
  customer.id as customer_id,
  product.id as product_id,
  case when wish.second is null then 'Daily' else 'Pattern' end,
  case when wish.second is null then wish.first end,
  case when wish.second is not null then wish.first end,
  wish.second,
  case when wish.second is not null then date '2025-09-08' end,
  customer.status = 'Active'
from (
  values
  ('Asha Deshpande', 'CM', 1.0, null),
  ('Gopal Reddy', 'BM', 1.5, null),
  ('Farida Shaikh', 'CM', 0.5, 0.0),
  ('Annapurna Tea Stall', 'BM', 3.0, null),
  ('Nilesh Sharma', 'CM', 1.0, 1.5),
  ('Hema Iyer', 'A2', 0.5, null),
  ('Lata Shah', 'A2', 1.0, null),
  ('Rajesh Patil', 'BM', 2.0, null),
  ('Manisha Kale', 'CM', 1.0, null),
  ('Gokul Sweets', 'BM', 3.0, null),
  ('Vinod D''Souza', 'CM', 1.0, null),
  ('Asha Deshpande', 'CURD', 0.5, 0.0)
) as wish (billing_name, code, first, second)
inner join public.customers as customer on wish.billing_name = customer.billing_name
inner join public.products as product on wish.code = product.code;

insert into public.modifications (
  customer_id, product_id, modification_type, start_date, end_date, quantity_change, reason
)
select
  customer.id as customer_id,
  product.id as product_id,
  wish.modification_type,
  wish.start_date,
  wish.end_date,
  wish.quantity_change,
  wish.reason
from (
  values
  ('Lata Shah', 'A2', 'Skip', date '2025-09-10', date '2025-09-12', null, 'Out of station'),
  ('Rajesh Patil', 'BM', 'Increase', date '2025-09-13', date '2025-09-14', 1.0, 'Guests at home')
) as wish (billing_name, code, modification_type, start_date, end_date, quantity_change, reason)
inner join public.customers as customer on wish.billing_name = customer.billing_name
inner join public.products as product on wish.code = product.code;

-- The week from Monday 8 to Sunday 14 September; the last day is planned and not delivered yet.
insert into public.daily_orders (
  customer_id, product_id, order_date, planned_quantity, unit_price, total_amount,
  route_id, delivery_time, status
)
select
  wish.customer_id,
  wish.product_id,
  wish.order_date,
  wish.quantity,
  product.current_price,
  wish.quantity * product.current_price,
  customer.route_id,
  customer.delivery_time,
  case when wish.order_date = date '2025-09-14' then 'Pending' else 'Delivered' end
from (
  select
    regular.customer_id,
    regular.product_id,
    calendar.midnight::date as order_date,
    case
      when regular.subscription_type = 'Daily' then regular.daily_quantity
      when (calendar.midnight::date - regular.pattern_start_date) % 2 = 0
        then regular.pattern_day1_quantity
      else regular.pattern_day2_quantity
    end + coalesce(modification.quantity_change, 0) as quantity
  from public.base_subscriptions as regular
  cross join generate_series(timestamp '2025-09-08', '2025-09-14', '1 day') as calendar (midnight)
  left join public.modifications as modification
    on
      regular.customer_id = modification.customer_id
      and regular.product_id = modification.product_id
      and calendar.midnight between modification.start_date and modification.end_date
  where
    regular.is_active
    and modification.modification_type is distinct from 'Skip'
) as wish
inner join public.customers as customer on wish.customer_id = customer.id
inner join public.products as product on wish.product_id = product.id
where wish.quantity > 0;

insert into public.deliveries (
  daily_order_id, customer_id, product_id, route_id, order_date, planned_quantity,
  actual_quantity, unit_price, total_amount, delivery_status, delivery_time, delivered_at,
  delivery_person
)
select
  planned.id as daily_order_id,
  planned.customer_id,
  planned.product_id,
  planned.route_id,
  planned.order_date,
  planned.planned_quantity,
  planned.planned_quantity as actual_quantity,
  planned.unit_price,
  planned.total_amount,
  'delivered',
  planned.delivery_time,
  (
    planned.order_date
    + case planned.delivery_time when 'Morning' then time '06:00' else time '17:30' end
  ) at time zone 'Asia/Kolkata',
  route.personnel_name
from public.daily_orders as planned
inner join public.routes as route on planned.route_id = route.id
where planned.status = 'Delivered';

-- Over the counter: paid at once, or on the account of a customer.
insert into public.sales (
  customer_id, product_id, quantity, unit_price, total_amount, sale_type, gst_amount,
  sale_date, payment_status
)
select
  customer.id as customer_id,
  product.id as product_id,
  sale.quantity,
  product.current_price,
  sale.quantity * product.current_price,
  sale.sale_type,
  round(sale.quantity * product.current_price * product.gst_rate / (100 + product.gst_rate), 2),
  sale.sale_date,
  case sale.sale_type when 'Credit' then 'Pending' else 'Completed' end
from (
  values
  (date '2025-09-08', 'Cash', null, 'PNR', 0.25),
  (date '2025-09-09', 'QR', null, 'GHEE', 0.5),
  (date '2025-09-10', 'Cash', null, 'LASSI', 0.5),
  (date '2025-09-11', 'Credit', 'Usha Joshi', 'PNR', 0.5),
  (date '2025-09-12', 'QR', null, 'CURD', 1.0),
  (date '2025-09-13', 'Credit', 'Usha Joshi', 'BTR', 0.25)
) as sale (sale_date, sale_type, billing_name, code, quantity)
inner join public.products as product on sale.code = product.code
left join public.customers as customer on sale.billing_name = customer.billing_name;
