"""A month of the dairy through the real functions: its account, and that its books balance."""

from decimal import Decimal

import pytest

from dairy.books import Books
from pymilk.demo.account import as_text, proofs
from pymilk.demo.month import run_month
from pymilk.demo.rupees import rupees
from support.databases import Database


def test_a_month_from_subscriptions_to_what_is_owed(dairy_hardened: Database) -> None:
    session = dairy_hardened.connect(autocommit=True)
    month = run_month(session)
    assert [what for what, holds in proofs(month) if not holds] == []
    assert (month.invoices, month.sales) == (146, 15)
    assert month.deliveries > 3000
    assert month.payments > 100
    assert Decimal(0) < month.credit < month.outstanding < month.invoiced + month.opening
    books = Books(session)
    assert books.violations() == set()
    assert books.rows("select status, succeeded, failed from public.bulk_operation_logs") == [
        ("completed", 146, 0)
    ]
    text = as_text(month)
    assert "BROKEN" not in text
    assert rupees(month.outstanding) in text


def test_an_account_says_what_is_broken(dairy_hardened: Database) -> None:
    month = run_month(dairy_hardened.connect(autocommit=True))
    assert "BROKEN: received" in as_text(month._replace(received=month.received + 1))
    assert "BROKEN: no invariant" in as_text(month._replace(broken=1))


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "₹0.00"),
        ("7.5", "₹7.50"),
        ("999", "₹999.00"),
        ("1000", "₹1,000.00"),
        ("99999.99", "₹99,999.99"),
        ("100000", "₹1,00,000.00"),
        ("1234567.80", "₹12,34,567.80"),
        ("12345678901", "₹12,34,56,78,901.00"),
        ("-1234.5", "-₹1,234.50"),
    ],
)
def test_rupees_as_they_are_written(amount: str, text: str) -> None:
    assert rupees(Decimal(amount)) == text


def test_no_fraction_of_a_paisa_is_dropped() -> None:
    with pytest.raises(ValueError, match="whole number of paisa"):
        rupees(Decimal("0.001"))
