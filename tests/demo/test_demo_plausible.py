"""What a dairy's owner would find odd in the demo; each query returns what is odd."""

from pathlib import Path

import psycopg
import pytest
from psycopg.rows import TupleRow

from pymilk.demo import dairy as demo
from support.databases import Database

SEED = Path(__file__).resolve().parents[2] / "supabase" / "seed.sql"

ODD = {
    "an order that isn't quantity times price": """
      select id from public.daily_orders
      where total_amount <> planned_quantity * unit_price
    """,
    "a delivery that isn't what was handed over times the price": """
      select id from public.deliveries
      where delivery_status = 'delivered'
        and total_amount is distinct from actual_quantity * unit_price
    """,
    "an amount that isn't whole paisa": """
      select amount from (
        select total_amount from public.daily_orders
        union all select total_amount from public.deliveries
        union all select total_amount from public.sales
        union all select gst_amount from public.sales
        union all select opening_balance from public.customers
        union all select price from public.product_pricing_history
      ) as amounts (amount)
      where amount <> round(amount, 2)
    """,
    "a price that wasn't in force that day": """
      select line.id
      from (
        select id, product_id, order_date as day, unit_price from public.daily_orders
        union all select id, product_id, order_date, unit_price from public.deliveries
        union all select id, product_id, sale_date, unit_price from public.sales
      ) as line
      where unit_price is distinct from (
        select price from public.product_pricing_history as history
        where history.product_id = line.product_id and effective_date <= line.day
        order by effective_date desc limit 1
      )
    """,
    "a product whose price isn't its newest one": """
      select id from public.products as product
      where current_price is distinct from (
        select price from public.product_pricing_history as history
        where history.product_id = product.id order by effective_date desc limit 1
      )
    """,
    "less than half a litre or more than anybody carries": """
      select id from public.daily_orders where planned_quantity not between 0.5 and 4
      union all
      select id from public.deliveries where actual_quantity not between 0.5 and 4.5
    """,
    "an order of a customer without that subscription, or with a lapsed one": """
      select ordered.id from public.daily_orders as ordered
      where not exists (
        select from public.base_subscriptions as subscription
        where subscription.customer_id = ordered.customer_id
          and subscription.product_id = ordered.product_id
          and subscription.is_active
      )
    """,
    "a subscription to what isn't brought to the door": """
      select subscription.id
      from public.base_subscriptions as subscription
      join public.products as product on product.id = subscription.product_id
      where not product.is_subscription_product
    """,
    "an order although the customer is away": """
      select ordered.id
      from public.daily_orders as ordered
      join public.modifications as asked using (customer_id, product_id)
      where asked.modification_type = 'Skip'
        and ordered.order_date between asked.start_date and asked.end_date
    """,
    "a quantity that isn't the subscribed one as modified": """
      select ordered.id
      from public.daily_orders as ordered
      join public.base_subscriptions as subscription using (customer_id, product_id)
      left join public.modifications as asked
        on asked.customer_id = ordered.customer_id
        and asked.product_id = ordered.product_id
        and ordered.order_date between asked.start_date and asked.end_date
      where ordered.planned_quantity <> case
          when subscription.subscription_type = 'Daily' then subscription.daily_quantity
          when (ordered.order_date - subscription.pattern_start_date) % 2 = 0
            then subscription.pattern_day1_quantity
          else subscription.pattern_day2_quantity
        end + case asked.modification_type
          when 'Increase' then asked.quantity_change
          when 'Decrease' then - asked.quantity_change
          else 0
        end
    """,
    "a subscribed day without its order": """
      select subscription.id, day
      from public.base_subscriptions as subscription
      cross join generate_series(date '2025-09-05', date '2025-09-16', '1 day') as day
      where subscription.is_active
        and case
          when subscription.subscription_type = 'Daily' then subscription.daily_quantity
          when (day::date - subscription.pattern_start_date) % 2 = 0
            then subscription.pattern_day1_quantity
          else subscription.pattern_day2_quantity
        end > 0
        and not exists (
          select from public.daily_orders as ordered
          where ordered.customer_id = subscription.customer_id
            and ordered.product_id = subscription.product_id and ordered.order_date = day
        )
        and not exists (
          select from public.modifications as asked
          where asked.customer_id = subscription.customer_id
            and asked.product_id = subscription.product_id
            and asked.modification_type = 'Skip'
            and day between asked.start_date and asked.end_date
        )
    """,
    "a delivery that isn't its order's": """
      select delivery.id
      from public.deliveries as delivery
      join public.daily_orders as ordered on ordered.id = delivery.daily_order_id
      where (
        delivery.customer_id, delivery.product_id, delivery.route_id, delivery.order_date,
        delivery.planned_quantity, delivery.unit_price, delivery.delivery_time
      ) is distinct from (
        ordered.customer_id, ordered.product_id, ordered.route_id, ordered.order_date,
        ordered.planned_quantity, ordered.unit_price, ordered.delivery_time
      )
    """,
    "two deliveries of one order": """
      select daily_order_id from public.deliveries
      where daily_order_id is not null group by 1 having count(*) > 1
    """,
    "an order whose status isn't what became of it": """
      select ordered.id
      from public.daily_orders as ordered
      left join public.deliveries as delivery on delivery.daily_order_id = ordered.id
      where ordered.status is distinct from case
        when delivery.delivery_status = 'delivered' then 'Delivered'
        when delivery.id is not null then 'Generated'
        else 'Pending'
      end
    """,
    "an order of a past day that nobody took care of": """
      select id from public.daily_orders
      where status = 'Pending' and order_date < date '2025-09-16'
    """,
    "milk delivered on another day than that of its order, or at night": """
      select id from public.deliveries
      where (delivery_status = 'delivered') <> (delivered_at is not null)
        or (delivered_at at time zone 'Asia/Kolkata')::date <> order_date
        or extract(hour from delivered_at at time zone 'Asia/Kolkata')
          not between case delivery_time when 'Morning' then 5 else 17 end
          and case delivery_time when 'Morning' then 8 else 20 end
    """,
    "a driver on another's route": """
      select delivery.id
      from public.deliveries as delivery
      join public.routes as route on route.id = delivery.route_id
      where delivery.delivery_person <> route.personnel_name
    """,
    "a customer on one route whose order is on another": """
      select ordered.id
      from public.daily_orders as ordered
      join public.customers as customer on customer.id = ordered.customer_id
      where (ordered.route_id, ordered.delivery_time)
        <> (customer.route_id, customer.delivery_time)
    """,
    "GST that isn't the part included in the price": """
      select sale.id
      from public.sales as sale join public.products as product on product.id = sale.product_id
      where sale.gst_amount
        <> round(sale.total_amount * product.gst_rate / (100 + product.gst_rate), 2)
    """,
    "a sale that isn't quantity times price": """
      select id from public.sales where total_amount <> quantity * unit_price
    """,
    "a credit sale that is paid, or made to somebody who left": """
      select sale.id
      from public.sales as sale join public.customers as customer on customer.id = customer_id
      where sale.payment_status <> 'Pending' or customer.status <> 'Active'
    """,
    "a telephone number that could be somebody's": """
      select id from public.customers
      cross join lateral unnest(array[phone_primary, phone_secondary, phone_tertiary]) as phone
      where phone !~ '^\\+91 0[0-9]{4} [0-9]{5}$'
    """,
    "a customer without a telephone or an address": """
      select id from public.customers
      where phone_primary is null or address !~ 'Dugdhapur 000 001$'
    """,
    "two customers of one name at one door": """
      select billing_name from public.customers group by billing_name, address
      having count(*) > 1
    """,
    "a change before the row was there, or in the future": """
      select created_at, updated_at
      from (
        select created_at, updated_at from public.customers
        union all select created_at, updated_at from public.products
        union all select created_at, updated_at from public.product_pricing_history
        union all select created_at, updated_at from public.daily_orders
        union all select created_at, updated_at from public.deliveries
        union all select created_at, updated_at from public.sales
      ) as rows
      where updated_at < created_at or updated_at > timestamptz '2025-09-16 12:00 Asia/Kolkata'
    """,
}


@pytest.fixture
def loaded(baseline: Database, request: pytest.FixtureRequest) -> psycopg.Connection[TupleRow]:
    connection = baseline.connect()
    demo.load(connection, scale=request.param)
    return connection


@pytest.mark.parametrize("loaded", [1, 2], indirect=True)
def test_nothing_in_it_is_odd(loaded: psycopg.Connection[TupleRow]) -> None:
    found = {name: loaded.execute(query.encode()).fetchall()[:3] for name, query in ODD.items()}
    assert {name: rows for name, rows in found.items() if rows} == {}


def test_the_seed_loads_on_the_baseline_and_nothing_in_it_is_odd(baseline: Database) -> None:
    connection = baseline.connect()
    connection.execute(SEED.read_bytes())
    # Its week is another one than the demo's twelve days, and its rows are as new as they are.
    other_days = {
        "a change before the row was there, or in the future",
        "a subscribed day without its order",
        "an order of a past day that nobody took care of",
    }
    found = {
        name: connection.execute(query.encode()).fetchall()
        for name, query in ODD.items()
        if name not in other_days
    }
    assert {name: rows for name, rows in found.items() if rows} == {}


def test_the_seed_is_small_and_complete(baseline: Database) -> None:
    connection = baseline.connect()
    connection.execute(SEED.read_bytes())
    rows = connection.execute("""
      select
        (select count(*) from public.routes), (select count(*) from public.products),
        (select count(*) from public.customers), (select count(*) from public.base_subscriptions),
        (select count(*) from public.modifications), (select count(*) from public.daily_orders),
        (select count(*) from public.deliveries), (select count(*) from public.sales)
    """).fetchone()
    assert rows == (2, 9, 12, 12, 2, 68, 57, 6)


def test_there_is_something_of_everything(dairy: Database) -> None:
    # The queries above would be content with an empty table.
    kinds = """
      select 'delivery ' || delivery_status from public.deliveries
      union select 'order ' || status from public.daily_orders
      union select 'sale ' || sale_type from public.sales
      union select 'modification ' || modification_type from public.modifications
      union select 'subscription ' || subscription_type from public.base_subscriptions
      union select 'customer ' || status from public.customers
      union select 'customer ' || payment_method from public.customers
      union select 'round ' || delivery_time from public.customers
      union select 'delivery without order' from public.deliveries where daily_order_id is null
      union select 'another quantity' from public.deliveries
        where actual_quantity <> planned_quantity
      union select 'debt' from public.customers where opening_balance > 0
      union select 'taxed sale' from public.sales where gst_amount > 0
    """
    found = {row[0] for row in dairy.connect().execute(kinds).fetchall()}
    assert found == {
        *("delivery pending", "delivery delivered", "delivery cancelled"),
        *("order Pending", "order Generated", "order Delivered"),
        *("sale Cash", "sale Credit", "sale QR"),
        *("modification Skip", "modification Increase", "modification Decrease"),
        *("modification Add Note", "subscription Daily", "subscription Pattern"),
        *("customer Active", "customer Inactive", "customer Monthly", "customer Prepaid"),
        *("round Morning", "round Evening", "delivery without order", "another quantity"),
        *("debt", "taxed sale"),
    }
