"""Who buys: the customers, their rounds and what they get without asking."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, NamedTuple

from pymilk.demo import names
from pymilk.demo.catalogue import product_id
from pymilk.demo.chance import Dice, derived, identity
from pymilk.demo.days import EVENING, FIRST_DAY, MORNING, OPENING_DAY, moment
from pymilk.demo.rows import Customer, Route, Subscription

if TYPE_CHECKING:
    from uuid import UUID


class Arrangement(Enum):
    """How a customer buys."""

    DAILY = auto()
    SHOP = auto()
    EVERY_OTHER_DAY = auto()
    TWO_DAYS_IN_TURN = auto()
    COUNTER = auto()
    LAPSED = auto()


# 126 orders a day on average, before anybody goes on holiday.
ARRANGEMENTS: Final = (
    *(Arrangement.DAILY,) * 96,
    *(Arrangement.SHOP,) * len(names.SHOPS),
    *(Arrangement.EVERY_OTHER_DAY,) * 20,
    *(Arrangement.TWO_DAYS_IN_TURN,) * 12,
    *(Arrangement.COUNTER,) * 12,
    *(Arrangement.LAPSED,) * 6,
)
# Of the daily households so many also get curd or buttermilk every other day.
SECOND_PRODUCTS: Final = 6
MORNING_CUSTOMERS: Final = 80
IN_DEBT: Final = 42

MILK: Final = ("CM",) * 5 + ("BM",) * 4 + ("A2",)
HOME_QUANTITIES: Final = tuple(map(Decimal, ("0.5", "0.5", "1", "1", "1", "1", "1.5", "2")))
SHOP_QUANTITIES: Final = tuple(map(Decimal, ("2", "2.5", "3", "3")))
HALF: Final = Decimal("0.5")
NONE: Final = Decimal(0)


class Buyer(NamedTuple):
    """A customer with the arrangement behind it."""

    customer: Customer
    arrangement: Arrangement


def routes(seed: int) -> list[Route]:
    """The two rounds, each driven morning and evening."""
    entered = moment(OPENING_DAY, 9)
    described = (
        ("Route 1 - Old Town", "Ramesh Pawar"),
        ("Route 2 - Canal Side", "Santosh Yadav"),
    )
    return [
        Route(
            id=identity(seed, "routes", number),
            name=name,
            description=", ".join(names.LOCALITIES[number]),
            personnel_name=driver,
            created_at=entered,
            updated_at=entered,
        )
        for number, (name, driver) in enumerate(described)
    ]


def buyers(seed: int, rounds: list[Route]) -> list[Buyer]:
    """The customers, in the order in which they were entered."""
    dice = Dice(seed, "customers")
    count = len(ARRANGEMENTS)
    arrangements = dice.shuffled(ARRANGEMENTS)
    times = dice.shuffled([MORNING] * MORNING_CUSTOMERS + [EVENING] * (count - MORNING_CUSTOMERS))
    debts = dice.shuffled([True] * IN_DEBT + [False] * (count - IN_DEBT))
    people = names.people(dice, count)
    shops = iter(names.SHOPS)
    buying = []
    for number, arrangement in enumerate(arrangements):
        route = dice.below(len(rounds))
        is_shop = arrangement is Arrangement.SHOP
        address = names.shop_address if is_shop else names.home_address
        entered = moment(OPENING_DAY, 10, number // 3)
        customer = Customer(
            id=identity(seed, "customers", number),
            billing_name=next(shops) if is_shop else people[number],
            contact_person=people[number] if is_shop else None,
            address=address(dice, route),
            phone_primary=names.phone(2 * number + 1),
            phone_secondary=names.phone(2 * number + 2) if dice.happens(0.25) else None,
            route_id=rounds[route].id,
            delivery_time=times[number],
            payment_method="Prepaid" if dice.happens(0.1) else "Monthly",
            billing_cycle_day=dice.pick((1, 1, 1, 5, 7, 10)),
            opening_balance=Decimal(120 + 10 * dice.below(400) if debts[number] else 0),
            status="Inactive" if arrangement is Arrangement.LAPSED else "Active",
            created_at=entered,
            updated_at=entered,
        )
        buying.append(Buyer(customer, arrangement))
    return buying


def subscriptions(seed: int, buying: list[Buyer]) -> list[Subscription]:
    """What each customer gets regularly; those who left keep theirs, switched off."""
    dice = Dice(seed, "base_subscriptions")
    milk = [_milk(seed, dice, buyer) for buyer in buying]
    daily = [buyer.customer for buyer in buying if buyer.arrangement is Arrangement.DAILY]
    second = [
        _every_other_day(dice, customer, product_id(seed, dice.pick(("CURD", "BMLK"))), HALF)
        for customer in dice.shuffled(daily)[:SECOND_PRODUCTS]
    ]
    return [*filter(None, milk), *second]


def _milk(seed: int, dice: Dice, buyer: Buyer) -> Subscription | None:
    customer, product = buyer.customer, product_id(seed, dice.pick(MILK))
    quantity = dice.pick(HOME_QUANTITIES)
    match buyer.arrangement:
        case Arrangement.COUNTER:
            return None
        case Arrangement.SHOP:
            product = product_id(seed, dice.pick(("CM", "BM")))
            return _daily(customer, product, dice.pick(SHOP_QUANTITIES))
        case Arrangement.EVERY_OTHER_DAY:
            return _every_other_day(dice, customer, product, quantity)
        case Arrangement.TWO_DAYS_IN_TURN:
            return _in_turn(customer, product, quantity, quantity + HALF)
        case Arrangement.DAILY | Arrangement.LAPSED:
            return _daily(customer, product, quantity)


def _every_other_day(
    dice: Dice, customer: Customer, product: UUID, quantity: Decimal
) -> Subscription:
    # Half of them on the even days and half on the odd ones: the vans are as full every day.
    begun = FIRST_DAY - timedelta(days=dice.below(2))
    return _in_turn(customer, product, quantity, NONE)._replace(pattern_start_date=begun)


def _in_turn(customer: Customer, product: UUID, first: Decimal, second: Decimal) -> Subscription:
    return _daily(customer, product, NONE)._replace(
        subscription_type="Pattern",
        daily_quantity=None,
        pattern_day1_quantity=first,
        pattern_day2_quantity=second,
        pattern_start_date=FIRST_DAY,
    )


def _daily(customer: Customer, product: UUID, quantity: Decimal) -> Subscription:
    return Subscription(
        id=derived(customer.id, str(product)),
        customer_id=customer.id,
        product_id=product,
        subscription_type="Daily",
        daily_quantity=quantity,
        pattern_day1_quantity=None,
        pattern_day2_quantity=None,
        pattern_start_date=None,
        is_active=customer.status == "Active",
        created_at=customer.created_at,
        updated_at=customer.created_at,
    )
