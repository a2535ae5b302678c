"""The dairy's counter: what is sold over it, for cash, by QR code or on a customer's account."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from pymilk.demo.catalogue import included_gst, price_on, product_id, total
from pymilk.demo.chance import Dice, identity
from pymilk.demo.days import DAYS, moment
from pymilk.demo.rows import Customer, Sale

if TYPE_CHECKING:
    from collections.abc import Sequence

SALE_TYPES: Final = (*("Cash",) * 38, *("QR",) * 24, *("Credit",) * 15)
BASKET: Final = (
    *(("CM", "1"), ("CM", "2"), ("BM", "1"), ("CURD", "0.5"), ("CURD", "1"), ("BMLK", "1")),
    *(("LASSI", "0.5"), ("PNR", "0.25"), ("PNR", "0.5"), ("BTR", "0.25"), ("GHEE", "0.5")),
    *(("GHEE", "1"), ("PNR", "1")),
)
OPENS: Final = 9
MINUTES_OPEN: Final = 11 * 60


def sales(seed: int, on_account: Sequence[Customer]) -> list[Sale]:
    """The sales of all days but today, whose counter is not open yet."""
    dice = Dice(seed, "sales")
    return [
        _sale(seed, dice, number, sale_type, on_account)
        for number, sale_type in enumerate(dice.shuffled(SALE_TYPES))
    ]


def _sale(
    seed: int, dice: Dice, number: int, sale_type: str, on_account: Sequence[Customer]
) -> Sale:
    day = DAYS[number * (len(DAYS) - 1) // len(SALE_TYPES)]
    code, weight = dice.pick(BASKET)
    quantity, price = Decimal(weight), price_on(code, day)
    amount = total(quantity, price)
    sold_at = moment(day, OPENS) + timedelta(minutes=dice.below(MINUTES_OPEN))
    on_credit = sale_type == "Credit"
    return Sale(
        id=identity(seed, "sales", number),
        customer_id=dice.pick(on_account).id if on_credit else None,
        product_id=product_id(seed, code),
        quantity=quantity,
        unit_price=price,
        total_amount=amount,
        sale_type=sale_type,
        notes="On the monthly bill" if on_credit else None,
        gst_amount=included_gst(code, amount),
        sale_date=day,
        payment_status="Pending" if on_credit else "Completed",
        created_at=sold_at,
        updated_at=sold_at,
    )
