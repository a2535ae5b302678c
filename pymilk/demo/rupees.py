"""Rupees as people in India write them: the last three digits, then two at a time."""

from __future__ import annotations

from decimal import Decimal

PAISA = Decimal("0.01")


def rupees(amount: Decimal) -> str:
    """An amount of whole paise, such as ₹12,34,567.80.

    Raises:
        ValueError: It isn't in whole paise, and nothing is rounded silently.
    """
    exact = amount.quantize(PAISA)
    if exact != amount:
        message = f"{amount} is no whole number of paisa"
        raise ValueError(message)
    whole, _, fraction = f"{abs(exact):f}".partition(".")
    groups = [whole[-3:]]
    rest = whole[:-3]
    while rest:
        groups.append(rest[-2:])
        rest = rest[:-2]
    return f"{'-' if exact < 0 else ''}₹{','.join(reversed(groups))}.{fraction}"
