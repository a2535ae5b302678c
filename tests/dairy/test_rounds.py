"""The proof: many callers at once, round after round, with gap 001 and with the app's own calls.

Guarded, every round ends with nothing over-allocated, totals equal to their rows, no deadlock, and
everything accepted that fits. Naive, on the baseline, the app's four calls fail that: each caller
reads the balances, all have read before anyone writes (as they do when the clicks fall together),
and each writes what follows from what it read.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier
from uuid import UUID

import psycopg
import pytest

from dairy.books import Books
from support.databases import Database

CALLERS = 8
PATIENCE = 30


class DoesNotFit(Exception):  # noqa: N818 - what the app tells its user
    """The app's own check: the amounts that it read leave too little."""


@dataclass(frozen=True)
class Call:
    """One caller's wish: this much of a payment on each of these invoices, in this order."""

    payment: UUID
    invoices: Sequence[UUID]
    amount: int


@dataclass(frozen=True)
class Contest:
    """Calls that happen together.

    Attributes:
        calls: At most CALLERS.
        fitting: How many of them fit, whoever is first.
    """

    calls: Sequence[Call]
    fitting: int


def eight_payments_of_one_invoice(books: Books) -> Contest:
    customer = books.customer()
    invoice = books.invoice(customer, 1000)
    return Contest(
        [Call(books.payment(customer, 300), [invoice], 300) for _ in range(CALLERS)], fitting=3
    )


def two_callers_of_one_payment(books: Books) -> Contest:
    customer = books.customer()
    payment = books.payment(customer, 800)
    return Contest(
        [Call(payment, [books.invoice(customer, 1000)], 500) for _ in range(2)], fitting=1
    )


def opposite_orders_of_twelve_invoices(books: Books) -> Contest:
    customer = books.customer()
    invoices = [books.invoice(customer, 250) for _ in range(12)]
    return Contest(
        [
            Call(books.payment(customer, 1200), invoices[:: (-1) ** number], 100)
            for number in range(4)
        ],
        fitting=2,
    )


def guarded(books: Books, call: Call, together: Barrier) -> None:
    """What the app calls from gap 001 on."""
    together.wait(PATIENCE)
    books.allocate(call.payment, dict.fromkeys(call.invoices, call.amount))


def naive(books: Books, call: Call, together: Barrier) -> None:
    """The four calls that the app makes today, each its own transaction."""
    wanted = call.amount * len(call.invoices)
    ((customer, amount, applied),) = books.rows(
        "select customer_id, amount, amount_applied from public.payments where id = %s",
        call.payment,
    )
    found = {
        invoice: (total, paid)
        for invoice, total, paid in books.rows(
            "select id, total_amount, amount_paid from public.invoice_metadata where id = any(%s)",
            list(call.invoices),
        )
    }
    together.wait(PATIENCE)
    if applied + wanted > amount or any(
        paid + call.amount > total for total, paid in found.values()
    ):
        raise DoesNotFit
    for invoice in call.invoices:
        total, paid = found[invoice]
        books.allocate_directly(call.payment, invoice, call.amount)
        books.run(
            "update public.invoice_metadata set amount_paid = %s, amount_outstanding = %s,"
            " invoice_status = %s where id = %s",
            paid + call.amount,
            total - paid - call.amount,
            "paid" if paid + call.amount >= total else "partially_paid",
            invoice,
        )
    left = amount - applied - wanted
    books.run(
        "update public.payments set amount_applied = %s, amount_unapplied = %s,"
        " allocation_status = %s where id = %s",
        applied + wanted,
        left,
        "partially_applied" if left else "fully_applied",
        call.payment,
    )
    books.run("delete from public.unapplied_payments where payment_id = %s", call.payment)
    if left:
        books.run(
            "insert into public.unapplied_payments (customer_id, payment_id, amount_unapplied)"
            " values (%s, %s, %s)",
            customer,
            call.payment,
            left,
        )


Prepare = Callable[[Books], Contest]
Way = Callable[[Books, Call, Barrier], None]


@dataclass(frozen=True)
class Arena:
    """The callers' sessions, one thread each, and a watcher."""

    watcher: Books
    callers: Sequence[Books]
    pool: ThreadPoolExecutor

    def failure(self, prepare: Prepare, way: Way) -> str | None:
        """Run one contest on clean tables; what went wrong, None when the guarantee held."""
        for table in ("invoice_payments", "unapplied_payments", "payments", "invoice_metadata"):
            self.watcher.run(f"delete from public.{table}")
        contest = prepare(self.watcher)
        together = Barrier(len(contest.calls))

        def attempt(number: int) -> str:
            try:
                way(self.callers[number], contest.calls[number], together)
            except psycopg.errors.DeadlockDetected:
                return "deadlock"
            except (DoesNotFit, psycopg.DatabaseError) as error:
                return type(error).__name__
            return "accepted"

        outcomes = list(self.pool.map(attempt, range(len(contest.calls))))
        broken = self.watcher.violations()
        if "deadlock" in outcomes:
            return "deadlock"
        if broken:
            return f"broken: {', '.join(sorted(broken))}"
        if outcomes.count("accepted") != contest.fitting:
            return f"{outcomes.count('accepted')} accepted, {contest.fitting} fit"
        return None


@pytest.fixture
def arena(request: pytest.FixtureRequest) -> Iterator[Arena]:
    database = request.getfixturevalue(request.param)
    assert isinstance(database, Database)
    with ThreadPoolExecutor(CALLERS) as pool:
        yield Arena(
            watcher=Books(database.connect(autocommit=True)),
            callers=[
                Books(database.connect(role="authenticated", autocommit=True))
                for _ in range(CALLERS)
            ],
            pool=pool,
        )


@pytest.mark.parametrize("rounds", [5, pytest.param(200, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    "prepare",
    [
        eight_payments_of_one_invoice,
        two_callers_of_one_payment,
        opposite_orders_of_twelve_invoices,
    ],
)
class TestRounds:
    """The same contests, twice."""

    @pytest.mark.parametrize("arena", ["dairy_001"], indirect=True)
    def test_with_gap_001_every_round_holds(
        self, arena: Arena, prepare: Prepare, rounds: int
    ) -> None:
        failures = [arena.failure(prepare, guarded) for _ in range(rounds)]
        assert failures == [None] * rounds
        assert arena.watcher.broken() == []

    @pytest.mark.parametrize("arena", ["dairy"], indirect=True)
    def test_on_the_baseline_most_rounds_fail(
        self, arena: Arena, prepare: Prepare, rounds: int
    ) -> None:
        failures = [arena.failure(prepare, naive) for _ in range(rounds)]
        assert len([failure for failure in failures if failure]) > rounds / 2
        assert any("within" in failure for failure in failures if failure)
