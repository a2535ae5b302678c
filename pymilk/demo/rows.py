"""The dairy's rows: one class a table, its fields in the order in which they are copied.

Only the tables that hold rows on the first day. Quantities are litres or kilograms, amounts are
rupees with two decimals, moments carry their time zone.
"""

from __future__ import annotations

from datetime import date, datetime  # noqa: TC003 - the fields' types can be read at run time
from decimal import Decimal  # noqa: TC003 - likewise
from typing import NamedTuple
from uuid import UUID  # noqa: TC003 - likewise


class Route(NamedTuple):
    """A round that one van drives, morning and evening."""

    id: UUID
    name: str
    description: str
    personnel_name: str
    created_at: datetime
    updated_at: datetime


class Product(NamedTuple):
    """What is sold; `current_price` includes GST."""

    id: UUID
    name: str
    code: str
    current_price: Decimal
    unit: str
    gst_rate: Decimal
    unit_of_measure: str
    is_subscription_product: bool
    created_at: datetime
    updated_at: datetime


class PriceChange(NamedTuple):
    """A product's price from a day on."""

    id: UUID
    product_id: UUID
    price: Decimal
    effective_date: date
    created_at: datetime
    updated_at: datetime


class Customer(NamedTuple):
    """A household or a shop on a round."""

    id: UUID
    billing_name: str
    contact_person: str | None
    address: str
    phone_primary: str
    phone_secondary: str | None
    route_id: UUID
    delivery_time: str
    payment_method: str
    billing_cycle_day: int
    opening_balance: Decimal
    status: str
    created_at: datetime
    updated_at: datetime


class Subscription(NamedTuple):
    """What a customer gets without asking: every day the same, or two days in turn."""

    id: UUID
    customer_id: UUID
    product_id: UUID
    subscription_type: str
    daily_quantity: Decimal | None
    pattern_day1_quantity: Decimal | None
    pattern_day2_quantity: Decimal | None
    pattern_start_date: date | None
    is_active: bool
    created_at: datetime
    updated_at: datetime


class Modification(NamedTuple):
    """What a customer asked to be different for some days."""

    id: UUID
    customer_id: UUID
    product_id: UUID
    modification_type: str
    start_date: date
    end_date: date
    quantity_change: Decimal | None
    reason: str
    is_active: bool
    created_at: datetime
    updated_at: datetime


class Order(NamedTuple):
    """What is planned for a customer, a product and a day."""

    id: UUID
    customer_id: UUID
    product_id: UUID
    order_date: date
    planned_quantity: Decimal
    unit_price: Decimal
    total_amount: Decimal
    route_id: UUID
    delivery_time: str
    status: str
    created_at: datetime
    updated_at: datetime


class Delivery(NamedTuple):
    """What came of an order, or what was handed over without one."""

    id: UUID
    daily_order_id: UUID | None
    customer_id: UUID
    product_id: UUID
    route_id: UUID
    order_date: date
    planned_quantity: Decimal | None
    actual_quantity: Decimal | None
    unit_price: Decimal
    total_amount: Decimal
    delivery_status: str
    delivery_time: str
    delivery_notes: str | None
    delivered_at: datetime | None
    delivery_person: str
    created_at: datetime
    updated_at: datetime


class Sale(NamedTuple):
    """A sale over the counter: paid at once, or on a customer's account."""

    id: UUID
    customer_id: UUID | None
    product_id: UUID
    quantity: Decimal
    unit_price: Decimal
    total_amount: Decimal
    sale_type: str
    notes: str | None
    gst_amount: Decimal
    sale_date: date
    payment_status: str
    created_at: datetime
    updated_at: datetime
