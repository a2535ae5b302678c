"""The month's account, as a person reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymilk.demo.rupees import rupees

if TYPE_CHECKING:
    from decimal import Decimal

    from pymilk.demo.month import Figures

WIDTH = 62


def as_text(month: Figures) -> str:
    """The figures in the order in which money becomes due, is billed, comes in and is owed."""
    return "\n".join(
        [
            "September 2025, the whole dairy",
            "",
            _line(
                f"{month.subscriptions} subscriptions, {month.orders} daily orders, "
                f"{month.deliveries} deliveries",
                month.delivered,
            ),
            _line(f"{month.sales} sales over the counter on account", month.sold),
            _line(f"Invoiced: {month.invoices}, one a customer", month.invoiced),
            f"  {month.first_number} to {month.last_number}",
            _line("  of it GST, in the sales", month.gst),
            "",
            _line("Opening balances", month.opening),
            _line(f"Received: {month.payments} payments", month.received),
            _line("  for opening balances", month.to_opening),
            _line("  for invoices", month.to_invoices),
            _line("  left as credit", month.unapplied),
            "",
            _line(
                f"Outstanding: {month.debtors} of {month.customers} customers", month.outstanding
            ),
            _line("  less credit", -month.credit),
            _line("Owed to the dairy", month.outstanding - month.credit),
            "",
            *(f"{'holds' if held else 'BROKEN'}: {what}" for what, held in proofs(month)),
            "",
        ]
    )


def proofs(month: Figures) -> list[tuple[str, bool]]:
    """What must be equal, in words, and whether it is: to the paisa."""
    return [
        (
            "invoiced = delivered + sold on account",
            month.invoiced == month.delivered + month.sold,
        ),
        (
            "received = for opening balances + for invoices + credit",
            month.received == month.to_opening + month.to_invoices + month.unapplied,
        ),
        (
            "outstanding = opening balances + invoiced - what was paid of both",
            month.outstanding
            == month.opening + month.invoiced - month.to_opening - month.to_invoices,
        ),
        (
            f"what {month.customers} customers owe comes out the same in two ways",
            month.agreeing == month.customers,
        ),
        ("no invariant of the books is broken", month.broken == 0),
    ]


def _line(what: str, amount: Decimal) -> str:
    return f"{what:<{WIDTH}}{rupees(amount):>16}"
