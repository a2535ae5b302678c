"""The orders: what is planned for each customer, product and day."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymilk.demo.catalogue import ARTICLES, price_on, product_id, total
from pymilk.demo.chance import derived
from pymilk.demo.days import DAYS, MORNING, planned_at
from pymilk.demo.rows import Customer, Modification, Order, Subscription
from pymilk.demo.wishes import quantity_on

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date
    from decimal import Decimal


def orders(
    seed: int,
    wishes: Mapping[Subscription, Sequence[Modification]],
    customers: Sequence[Customer],
) -> list[Order]:
    """All orders, in the sequence in which the vans come to them; none is delivered yet."""
    codes = {product_id(seed, article.code): article.code for article in ARTICLES}
    place = {customer.id: number for number, customer in enumerate(customers)}

    def on_the_way(order: Order) -> tuple[date, bool, int]:
        # Both vans are out at once, so their stops alternate.
        return order.order_date, order.delivery_time != MORNING, place[order.customer_id]

    planned = [
        _order(
            subscription,
            customers[place[subscription.customer_id]],
            day,
            quantity,
            price_on(codes[subscription.product_id], day),
        )
        for day in DAYS
        for subscription, modifications in wishes.items()
        if (quantity := quantity_on(subscription, modifications, day))
    ]
    return sorted(planned, key=on_the_way)


def _order(
    subscription: Subscription, customer: Customer, day: date, quantity: Decimal, price: Decimal
) -> Order:
    return Order(
        id=derived(subscription.id, day.isoformat()),
        customer_id=customer.id,
        product_id=subscription.product_id,
        order_date=day,
        planned_quantity=quantity,
        unit_price=price,
        total_amount=total(quantity, price),
        route_id=customer.route_id,
        delivery_time=customer.delivery_time,
        status="Pending",
        created_at=planned_at(day),
        updated_at=planned_at(day),
    )
