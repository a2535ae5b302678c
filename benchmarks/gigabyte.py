"""A dairy of about one gigabyte: the live schema, and millions of orders and deliveries in it."""

import psycopg

_DAYS = 365

_FILL = (
    """
    insert into public.routes (name, description)
    select 'Route ' || i, 'By the canal ' || i from generate_series(1, 20) as i
    """,
    """
    insert into public.products (name, code, current_price)
    select 'Product ' || i, 'P' || i, 40 + i from generate_series(1, 5) as i
    """,
    """
    insert into public.customers (
      billing_name, contact_person, address, phone_primary, route_id, delivery_time,
      payment_method, billing_cycle_day, opening_balance
    )
    select
      'Customer ' || i, 'Person ' || i, i || ', Market Road, Nashik', '98' || (10000000 + i),
      r.id, 'Morning', 'Monthly', 1 + i %% 28, i %% 7 * 100
    from generate_series(1, %(customers)s) as i
    inner join (select id, row_number() over () as n from public.routes) as r on r.n = 1 + i %% 20
    """,
    """
    insert into public.daily_orders (
      customer_id, product_id, order_date, planned_quantity, unit_price, total_amount, route_id,
      delivery_time, status
    )
    select c.id, p.id, date '2025-01-01' + d, 1.5, 62, 93.00, c.route_id, 'Morning', 'Delivered'
    from public.customers as c
    cross join generate_series(1, %(days)s) as d
    cross join (select id from public.products order by code limit 1) as p
    """,
    """
    insert into public.deliveries (
      daily_order_id, customer_id, product_id, route_id, order_date, planned_quantity,
      actual_quantity, unit_price, total_amount, delivery_status, delivery_notes, delivered_at,
      delivery_person
    )
    select
      o.id, o.customer_id, o.product_id, o.route_id, o.order_date, o.planned_quantity,
      o.planned_quantity, o.unit_price, o.total_amount, 'delivered',
      'left at the gate, ' || left(o.id::text, 8), o.order_date + time '06:10', 'Ramesh'
    from public.daily_orders as o
    """,
)


def fill(connection: psycopg.Connection, customers: int) -> None:
    """Give each customer a year of orders and deliveries; 4,000 customers make a gigabyte."""
    for statement in _FILL:
        connection.execute(statement.encode(), {"customers": customers, "days": _DAYS})
    connection.commit()
    connection.autocommit = True
    connection.execute("vacuum analyze")
