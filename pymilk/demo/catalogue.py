"""What the demo dairy sells, and what it cost when.

GST as it was until 21 September 2025: fresh milk is exempt (HSN 0401); curd, buttermilk, lassi
and paneer, packed and labelled, 5 % (0403, 0406); butter and ghee 12 % (0405).
"""

from __future__ import annotations

from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Final, NamedTuple

from pymilk.demo.chance import identity
from pymilk.demo.days import OPENING_DAY, moment
from pymilk.demo.rows import PriceChange, Product

if TYPE_CHECKING:
    from uuid import UUID

PAISA: Final = Decimal("0.01")


class Article(NamedTuple):
    """One line of the price list: what it is, and its prices in rupees by the day they began."""

    name: str
    code: str
    unit: str
    gst_rate: int
    prices: tuple[tuple[date, int], ...]


APRIL: Final = date(2025, 4, 1)

ARTICLES: Final = (
    Article("Cow Milk", "CM", "liter", 0, ((APRIL, 56), (date(2025, 8, 1), 58))),
    Article("Buffalo Milk", "BM", "liter", 0, ((APRIL, 72), (date(2025, 9, 11), 74))),
    Article("A2 Gir Cow Milk", "A2", "liter", 0, ((APRIL, 96),)),
    Article("Curd", "CURD", "kg", 5, ((APRIL, 90),)),
    Article("Buttermilk", "BMLK", "liter", 5, ((APRIL, 40),)),
    Article("Lassi", "LASSI", "liter", 5, ((APRIL, 110), (date(2025, 6, 1), 120))),
    Article("Paneer", "PNR", "kg", 5, ((APRIL, 400), (date(2025, 8, 1), 420))),
    Article("White Butter", "BTR", "kg", 12, ((APRIL, 560),)),
    Article("Cow Ghee", "GHEE", "kg", 12, ((APRIL, 760), (date(2025, 8, 1), 780))),
)

# What comes to the door every day; the rest is sold when it is asked for.
SUBSCRIBED: Final = frozenset({"CM", "BM", "A2", "CURD", "BMLK"})

NUMBERS: Final = {article.code: number for number, article in enumerate(ARTICLES)}


def product_id(seed: int, code: str) -> UUID:
    """The id of the product with this code."""
    return identity(seed, "products", NUMBERS[code])


def price_on(code: str, day: date) -> Decimal:
    """The price in force on a day, in rupees with two decimals."""
    prices = ARTICLES[NUMBERS[code]].prices
    return Decimal(next(price for start, price in reversed(prices) if start <= day)).quantize(PAISA)


def total(quantity: Decimal, price: Decimal) -> Decimal:
    """Quantity times price, which has to be whole paisa: nothing here is ever rounded."""
    exact = quantity * price
    rounded = exact.quantize(PAISA)
    if rounded != exact:
        message = f"{quantity} at {price} is no whole number of paisa"
        raise ValueError(message)
    return rounded


def included_gst(code: str, amount: Decimal) -> Decimal:
    """The GST contained in an amount that includes it, to the nearest paisa."""
    rate = ARTICLES[NUMBERS[code]].gst_rate
    return (amount * rate / (100 + rate)).quantize(PAISA, rounding=ROUND_HALF_UP)


def products(seed: int) -> list[Product]:
    """The price list of today."""
    entered = moment(OPENING_DAY, 9)
    return [
        Product(
            id=product_id(seed, article.code),
            name=article.name,
            code=article.code,
            current_price=price_on(article.code, article.prices[-1][0]),
            unit=article.unit,
            gst_rate=Decimal(article.gst_rate),
            unit_of_measure=article.unit,
            is_subscription_product=article.code in SUBSCRIBED,
            created_at=entered,
            updated_at=max(entered, moment(article.prices[-1][0], 0)),
        )
        for article in ARTICLES
    ]


def price_changes(seed: int) -> list[PriceChange]:
    """The prices of today and those before them."""
    entered = moment(OPENING_DAY, 9)
    changes = [(article.code, *price) for article in ARTICLES for price in article.prices]
    return [
        PriceChange(
            id=identity(seed, "product_pricing_history", number),
            product_id=product_id(seed, code),
            price=Decimal(price).quantize(PAISA),
            effective_date=start,
            created_at=max(entered, moment(start, 0)),
            updated_at=max(entered, moment(start, 0)),
        )
        for number, (code, start, price) in enumerate(changes)
    ]
