"""With everything deployed: every RPC that moves money, beside every other, and none deadlocks.

Invoices bill sales that become paid with them, sales are paid by themselves, opening balances are
paid: whoever undoes or voids locks all of it in the one order.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random
from uuid import UUID

import psycopg
import pytest

from dairy.settling import Settling
from dairy.undoing import KEY, roll_back, unallocate, update, void
from support.databases import Database

WRITERS = 4
CALLS = 40


@dataclass(frozen=True)
class Shop:
    """One customer's payments, invoices and sales, on an invoice or not."""

    customer: UUID
    payments: Sequence[UUID]
    invoices: Sequence[UUID]
    sales: Sequence[UUID]


def open_shop(books: Settling) -> Shop:
    customer = books.customer(opening_balance=3000)
    invoices = [books.invoice(customer, 300) for _ in range(4)]
    sales = [books.sale(customer, 100) for _ in range(12)]
    for number, invoice in enumerate(invoices):
        books.bill(invoice, sales[number], sales[11 - number])
        books.make_up(invoice)
    return Shop(customer, [books.payment(customer, 1000) for _ in range(10)], invoices, sales)


@dataclass(frozen=True)
class Clerk:
    """One of several at the same shop."""

    books: Settling
    chance: Random
    shop: Shop

    def pay(self, payment: UUID, lines: dict[UUID, int]) -> None:
        """Allocate in one of the ways that there are."""
        match self.chance.randint(0, 4):
            case 0 | 1:
                self.books.allocate(payment, lines, validate=False)
            case 2:
                self.books.pay_opening(payment, self.shop.customer, self.chance.randint(1, 100))
            case 3:
                self.books.pay_sales(payment, *self.chance.sample(self.shop.sales, 3))
            case _:
                self.books.auto(payment)

    def take_back(self, payment: UUID, lines: dict[UUID, int]) -> None:
        """Undo or change in one of the ways that there are."""
        match self.chance.randint(0, 19):
            case low if low < 8:
                roll_back(self.books, payment)
            case low if low < 12:
                unallocate(self.books, payment)
            case low if low < 19:
                update(self.books, payment, 1000, lines)
            case _:
                void(self.books, payment)

    def outcomes(self) -> set[str]:
        """What the calls ended in."""
        found = set()
        for _ in range(CALLS):
            key = str(self.chance.randint(0, 20)) if self.chance.random() < 0.6 else ""
            self.books.setting(KEY, key)
            some = self.chance.sample(self.shop.invoices, self.chance.randint(1, 4))
            lines = {invoice: self.chance.choice([100, 200, 300]) for invoice in some}
            act = self.chance.choice([self.pay, self.take_back])
            try:
                act(self.chance.choice(self.shop.payments), lines)
            except psycopg.DatabaseError as error:
                found.add(error.diag.sqlstate or "lost")
            else:
                found.add("done")
        return found


@pytest.mark.parametrize(
    "seed", [1, 2, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(3, 40))]
)
def test_rpcs_among_themselves_never_deadlock(dairy_hardened: Database, seed: int) -> None:
    watcher = Settling(dairy_hardened.connect(autocommit=True))
    shop = open_shop(watcher)
    clerks = [
        Clerk(
            Settling(dairy_hardened.connect(role="authenticated", autocommit=True)),
            Random(f"{seed} {number}"),  # noqa: S311 - a test that can be run again
            shop,
        )
        for number in range(WRITERS)
    ]

    with ThreadPoolExecutor(WRITERS) as pool:
        outcomes = set().union(*pool.map(Clerk.outcomes, clerks))

    assert "done" in outcomes
    assert outcomes <= {"done", "PT404", "PT409"}
    assert watcher.broken() == []
    assert watcher.violations() == set()


def test_the_key_of_each_way_of_allocating_undoes_it(dairy_hardened: Database) -> None:
    books = Settling(dairy_hardened.connect(role="authenticated", autocommit=True))
    customer = books.customer(opening_balance=500)
    payment, invoice = books.payment(customer, 800), books.invoice(customer, 200)
    sale = books.sale(customer, 100)

    books.with_key("opening")
    books.pay_opening(payment, customer, 300)
    assert roll_back(books, payment) == (True, 0, 300, True)
    books.with_key("sales")
    books.pay_sales(payment, sale)
    assert roll_back(books, payment) == (True, 0, 100, True)
    books.with_key("auto")
    books.auto(payment)
    assert roll_back(books, payment) == (True, 1, 700, True)
    books.with_key("recorded")
    recorded = books.record(
        customer_id=customer,
        amount=450,
        opening_balance=150,
        allocations=[{"invoiceId": invoice, "amount": 200}],
        sales=[{"saleId": sale}],
    )["payment_id"]
    assert roll_back(books, recorded) == (True, 1, 450, True)
    assert books.payment_totals(recorded) == (0, 450, "unapplied")
    assert books.opening_paid(customer) == 0
    assert books.sale_state(sale) == (0, "Pending")
    assert books.broken() == []
