"""What customers want on a day: their subscription, and what they asked to change for a while."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from pymilk.demo.chance import Dice, derived
from pymilk.demo.days import DAYS, planned_at
from pymilk.demo.rows import Modification, Subscription

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

HALF: Final = Decimal("0.5")
ONE: Final = Decimal(1)
NONE: Final = Decimal(0)

LONGEST_HOLIDAY: Final = 6
AWAY: Final = ("Out of station", "Gone to the village", "Family wedding", "On pilgrimage")
CHANGES: Final = (
    *(("Increase", ONE, "Guests at home"),) * 5,
    *(("Increase", HALF, "Sweets for the puja"),) * 4,
    *(("Decrease", HALF, "Children at their grandparents'"),) * 5,
    *(("Add Note", None, "Ring the bell twice"),) * 2,
    *(("Add Note", None, "Leave it with the watchman"),) * 2,
)


def quantity_on(
    subscription: Subscription, modifications: Iterable[Modification], day: date
) -> Decimal:
    """What the van brings for a subscription on a day; 0 when it does not stop for it."""
    quantity = _usual_quantity(subscription, day)
    for modification in modifications:
        if modification.start_date <= day <= modification.end_date:
            match modification.modification_type:
                case "Skip":
                    return NONE
                case "Increase":
                    quantity += modification.quantity_change or NONE
                case "Decrease":
                    quantity -= modification.quantity_change or NONE
    return quantity


def modifications(
    seed: int, subscriptions: Sequence[Subscription], orders: int
) -> dict[Subscription, list[Modification]]:
    """What customers asked for, such that so many orders are left.

    Holidays are given out until exactly that number is reached; then a few others of the
    customers, each with something to bring on every day, change what they get.

    Raises:
        ValueError: The subscriptions come to fewer orders than that.
    """
    dice = Dice(seed, "modifications")
    excess = sum(_stops(each, DAYS) for each in subscriptions) - orders
    if excess < 0:
        message = f"the subscriptions lack {-excess} orders of {orders}"
        raise ValueError(message)
    asked: dict[Subscription, list[Modification]] = {each: [] for each in subscriptions}
    waiting = dice.shuffled([each for each in subscriptions if each.is_active])
    while excess:
        subscription = waiting.pop()
        away = _some_days(dice, min(1 + dice.below(LONGEST_HOLIDAY), excess))
        excess -= _stops(subscription, away)
        asked[subscription] = [_modification(subscription, away, "Skip", None, dice.pick(AWAY))]
    steady = [each for each in waiting if (each.daily_quantity or NONE) >= ONE]
    for (kind, change, reason), subscription in zip(CHANGES, steady, strict=False):
        days = _some_days(dice, 1 + dice.below(4))
        asked[subscription] = [_modification(subscription, days, kind, change, reason)]
    return asked


def _usual_quantity(subscription: Subscription, day: date) -> Decimal:
    if not subscription.is_active:
        return NONE
    if subscription.pattern_start_date is None:
        return subscription.daily_quantity or NONE
    is_second_day = (day - subscription.pattern_start_date).days % 2
    quantity = (
        subscription.pattern_day2_quantity if is_second_day else subscription.pattern_day1_quantity
    )
    return quantity or NONE


def _stops(subscription: Subscription, days: Iterable[date]) -> int:
    return sum(1 for day in days if _usual_quantity(subscription, day))


def _some_days(dice: Dice, length: int) -> list[date]:
    first = dice.pick(DAYS[: len(DAYS) - length + 1])
    return [first + timedelta(days=number) for number in range(length)]


def _modification(
    subscription: Subscription,
    days: Sequence[date],
    kind: str,
    change: Decimal | None,
    reason: str,
) -> Modification:
    asked_at = planned_at(days[0]) - timedelta(hours=2)
    return Modification(
        id=derived(subscription.id, kind),
        customer_id=subscription.customer_id,
        product_id=subscription.product_id,
        modification_type=kind,
        start_date=days[0],
        end_date=days[-1],
        quantity_change=change,
        reason=reason,
        is_active=True,
        created_at=asked_at,
        updated_at=asked_at,
    )
