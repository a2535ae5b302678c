"""What nobody should send: values for every type of argument that a public function takes."""

import json
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

STRANGER = "11111111-2222-4333-8444-555555555555"
MANY = 10_000

MONEY: list[object] = [
    0,
    -1,
    -0.01,
    0.001,
    10.005,
    "0",
    "NaN",
    "nan",
    "Infinity",
    "-Infinity",
    "1e30",
    "1e400",
    "1e-400",
    "10000000000",
    "9" * 1000,
    "0." + "0" * 1000 + "1",
    "",
    " 5",
    "5\n",
    "+5",
    "-5",
    ".5",
    "5.",
    "0x10",
    "1_000",
    "1,000",
    "₹5",
    "\u0665",
    "five",
    True,
    None,
    [],
    {},
    [5],
    {"amount": 5},
]
TEXTS: list[object] = [
    None,
    "",
    " ",
    "\t\n",
    "x" * 100_000,
    "'; drop table public.payments; --",
    "$$; select pg_sleep(9); $$",
    "%s %I %L {} \\ \\0 \\u0000",
    "💸\u202e\u0301\ufeff",
    "\u0130\u0131\u017fK",
    "NaN",
    "null",
    "[]",
    "-1",
    "0",
    "1e400",
    "000000",
    "202526",
    "202527",
    "999900",
    "20252\uff16",
    "99999999999999999999",
    "opening_first ",
    "Cash\n",
]
IDS: list[object] = [None, STRANGER, str(UUID(int=0)), str(UUID(int=2**128 - 1))]
DATES: list[object] = [
    None,
    "infinity",
    "-infinity",
    "4713-01-01 BC",
    "0001-12-31 BC",
    "0001-01-01",
    "1999-12-31",
    "2024-02-29",
    "2999-12-31",
    "9999-12-31",
    "5874897-12-31",
]
NUMBERS: list[object] = [
    None,
    "0",
    "-1",
    "-0.01",
    "0.001",
    "0.01",
    "100.000",
    "9999999999.99",
    "9999999999.995",
    "10000000000",
    "1e30",
    "1e400",
    "1e-400",
    "NaN",
    "Infinity",
    "-Infinity",
]
WHOLE: list[object] = [None, "0", "-1", "1", "2147483647", "-2147483648"]


def arrays(good: str) -> list[object]:
    """Lists of ids, `good` being one that exists."""
    return [
        None,
        "{}",
        "{NULL}",
        f"{{{good},NULL}}",
        f"{{{good},{good}}}",
        f"{{{good},{STRANGER}}}",
        f"{{{{{good}}},{{{STRANGER}}}}}",
        f"[7:8]={{{good},{good}}}",
        "{" + ",".join([good] * MANY) + "}",
        "{" + ",".join(str(UUID(int=number)) for number in range(MANY)) + "}",
    ]


def documents(good: Mapping[str, str]) -> list[object]:
    """JSON that is no list of allocations, no payment, or one with something odd in it."""
    texts = [
        None,
        "null",
        "5",
        '"text"',
        "true",
        "[]",
        "{}",
        "[[]]",
        "[null]",
        "[5]",
        '["x"]',
        "[{}]",
        "[" * 500 + "]" * 500,
        '{"a":' * 500 + "1" + "}" * 500,
        json.dumps([{"invoiceId": good["invoice"], "amount": 1}] * MANY),
        json.dumps([{"saleId": good["sale"]}] * MANY),
        json.dumps([{"invoiceId": str(UUID(int=number)), "amount": 1} for number in range(MANY)]),
        json.dumps([{"saleId": str(UUID(int=number))} for number in range(MANY)]),
        json.dumps({f"key {number}": number for number in range(MANY)}),
        '[{"invoiceId": "x", "invoiceId": "y", "amount": 1, "amount": 2}]',
    ]
    return [*texts, *(json.dumps(each) for each in _odd(good))]


def _odd(good: Mapping[str, str]) -> Iterable[Any]:
    for key, target in (("invoiceId", good["invoice"]), ("saleId", good["sale"])):
        yield {key: target, "amount": 5}
        yield [{key: target, "amount": 1}, {key: target.upper(), "amount": 1}]
        for amount in MONEY:
            yield [{key: target, "amount": amount}]
        for odd in (*TEXTS, 5, True, [target], {"id": target}, STRANGER, f"{{{target}}}"):
            yield [{key: odd, "amount": 5}]
    payment = {"customer_id": good["customer"], "amount": 5}
    yield {**payment, "colour": "red"}
    yield {**payment, "💸": None}
    yield [payment]
    fields = ("payment_method", "notes", "payment_date", "period_start", "period_end")
    for name in (*fields, "customer_id", "allocations", "sales"):
        for odd in (*TEXTS, *DATES, 5, True, [], {}, [[]], [None]):
            yield {**payment, name: odd}
    for name in ("amount", "opening_balance"):
        for amount in MONEY:
            yield {**payment, name: amount}
    yield {**payment, "period_start": "2025-09-30", "period_end": "2025-09-01"}


def values(kind: str, good: Mapping[str, str]) -> list[object]:
    """Hostile values for an argument of this type; a new type has to be thought about here."""
    known: dict[str, list[object]] = {
        "uuid": [*IDS, *good.values()],
        "uuid[]": arrays(good["invoice"]) + arrays(good["customer"]),
        "jsonb": documents(good),
        "text": TEXTS,
        "numeric": NUMBERS,
        "integer": WHOLE,
        "bigint": [*WHOLE, "9223372036854775807"],
        "date": DATES,
        "boolean": [None, "true", "false"],
    }
    return known[kind]
