"""The rounds: what became of the orders on the way, and what was handed over besides."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from pymilk.demo.catalogue import price_on, product_id, total
from pymilk.demo.chance import Dice, derived
from pymilk.demo.days import TODAY, delivered_at
from pymilk.demo.rows import Delivery, Order, Route

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

# On the morning of the last day the van is out with these; what it has not loaded yet has no row.
PENDING: Final = 7
# What went differently before: nobody there, another quantity, something asked for at the door.
CANCELLED: Final = 9
ANOTHER_QUANTITY: Final = 0.03
WITHOUT_ORDER: Final = 6

NOT_TAKEN: Final = ("Gate locked, nobody at home", "Customer away, did not tell")
ASKED_FOR: Final = ("CURD", "PNR", "GHEE", "LASSI")
HALF: Final = Decimal("0.5")
NOTHING: Final = Decimal("0.00")


def deliveries(
    seed: int, planned: Sequence[Order], routes: Sequence[Route], count: int
) -> list[Delivery]:
    """So many deliveries: of the first orders on the way, and a handful without an order."""
    dice = Dice(seed, "deliveries")
    drivers = {route.id: route.personnel_name for route in routes}
    loaded = planned[: count - WITHOUT_ORDER]
    listed = [_listed(order, drivers[order.route_id]) for order in loaded]
    arrivals = _arrivals(loaded)
    handed_out = len(loaded) - PENDING
    before_today = [number for number, order in enumerate(loaded) if order.order_date < TODAY]
    not_taken = set(dice.shuffled(before_today)[:CANCELLED])
    done = [
        _cancelled(delivery, dice.pick(NOT_TAKEN), arrival)
        if number in not_taken
        else _delivered(delivery, _handed_over(dice, order.planned_quantity), arrival)
        for number, (order, delivery, arrival) in enumerate(
            zip(loaded[:handed_out], listed, arrivals, strict=False)
        )
    ]
    doors = dice.shuffled([each for each in done if each.delivery_status == "delivered"])
    besides = [_besides(seed, dice.pick(ASKED_FOR), door) for door in doors[:WITHOUT_ORDER]]
    return [*done, *listed[handed_out:], *besides]


def with_outcome(planned: Sequence[Order], made: Sequence[Delivery]) -> list[Order]:
    """The orders with the status that their deliveries give them.

    Pending is only planned, Generated stands on the driver's list, Delivered was handed over.
    """
    outcome = {delivery.daily_order_id: delivery for delivery in made}
    return [
        order._replace(
            status="Delivered" if delivery.delivery_status == "delivered" else "Generated",
            updated_at=delivery.updated_at,
        )
        if (delivery := outcome.get(order.id))
        else order
        for order in planned
    ]


def _arrivals(loaded: Sequence[Order]) -> list[datetime]:
    stops: Counter[object] = Counter()
    arrivals = []
    for order in loaded:
        this_round = (order.order_date, order.delivery_time, order.route_id)
        arrivals.append(delivered_at(order.order_date, order.delivery_time, stops[this_round]))
        stops[this_round] += 1
    return arrivals


def _handed_over(dice: Dice, planned: Decimal) -> Decimal:
    if not dice.happens(ANOTHER_QUANTITY):
        return planned
    return planned + HALF if planned == HALF or dice.happens(0.5) else planned - HALF


def _listed(order: Order, driver: str) -> Delivery:
    listed_at = delivered_at(order.order_date, order.delivery_time, 0)
    return Delivery(
        id=derived(order.id, "delivery"),
        daily_order_id=order.id,
        customer_id=order.customer_id,
        product_id=order.product_id,
        route_id=order.route_id,
        order_date=order.order_date,
        planned_quantity=order.planned_quantity,
        actual_quantity=None,
        unit_price=order.unit_price,
        total_amount=order.total_amount,
        delivery_status="pending",
        delivery_time=order.delivery_time,
        delivery_notes=None,
        delivered_at=None,
        delivery_person=driver,
        created_at=listed_at,
        updated_at=listed_at,
    )


def _delivered(listed: Delivery, quantity: Decimal, arrival: datetime) -> Delivery:
    return listed._replace(
        actual_quantity=quantity,
        total_amount=total(quantity, listed.unit_price),
        delivery_status="delivered",
        delivered_at=arrival,
        updated_at=arrival,
    )


def _cancelled(listed: Delivery, reason: str, arrival: datetime) -> Delivery:
    return listed._replace(
        total_amount=NOTHING,
        delivery_status="cancelled",
        delivery_notes=reason,
        updated_at=arrival,
    )


def _besides(seed: int, code: str, door: Delivery) -> Delivery:
    price = price_on(code, door.order_date)
    return door._replace(
        id=derived(door.id, "besides"),
        daily_order_id=None,
        product_id=product_id(seed, code),
        planned_quantity=None,
        actual_quantity=HALF,
        unit_price=price,
        total_amount=total(HALF, price),
        delivery_notes="Asked for at the door",
        created_at=door.updated_at,
    )
