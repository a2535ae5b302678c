"""Undoing, changing and voiding beside somebody else, in both orders; no two RPCs deadlock."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random
from uuid import UUID

import psycopg
import pytest

from dairy.books import Books, refused, ruled_out
from dairy.racing import Race, racing
from dairy.stages import first_and_last
from dairy.undoing import KEY, roll_back, unallocate, update, void
from support.databases import Database

database = first_and_last("dairy_003")


@pytest.fixture
def race(database: Database) -> Iterator[Race[Books]]:
    with racing(database, Books) as prepared:
        yield prepared


def with_key(books: Books, key: str) -> None:
    """Send the key from now on; in a transaction that ends here."""
    books.setting(KEY, key)
    if not books.connection.autocommit:
        books.connection.commit()


class TestRollingBackWhatIsInFlight:
    """The call that timed out for its caller is still running in the database."""

    def test_with_the_key_it_waits_and_undoes_it(self, race: Race[Books]) -> None:
        customer = race.watcher.customer()
        payment, invoice = race.watcher.payment(customer, 800), race.watcher.invoice(customer, 500)
        for books in (race.first, race.second):
            with_key(books, "timed out")

        race.first.allocate(payment, {invoice: 300})
        waiting = race.second_waits(lambda: roll_back(race.second, payment))
        race.first.connection.commit()

        assert waiting.result(timeout=10) == (True, 1, 300, True)
        assert race.watcher.allocations(payment) == {}
        assert race.watcher.broken() == []

    def test_with_the_key_of_a_call_that_fails_it_leaves_a_tombstone(
        self, race: Race[Books]
    ) -> None:
        customer = race.watcher.customer()
        payment, invoice = race.watcher.payment(customer, 800), race.watcher.invoice(customer, 500)
        for books in (race.first, race.second):
            with_key(books, "timed out")

        race.first.allocate(payment, {invoice: 300})
        waiting = race.second_waits(lambda: roll_back(race.second, payment))
        race.first.connection.rollback()

        assert waiting.result(timeout=10) == (True, 0, 0, False)
        with refused("request_undone"):
            race.second.allocate(payment, {invoice: 300})

    def test_the_original_that_comes_second_waits_and_is_refused(self, race: Race[Books]) -> None:
        customer = race.watcher.customer()
        payment, invoice = race.watcher.payment(customer, 800), race.watcher.invoice(customer, 500)
        for books in (race.first, race.second):
            with_key(books, "late")

        roll_back(race.first, payment)
        waiting = race.second_waits(lambda: race.second.allocate(payment, {invoice: 300}))
        race.first.connection.commit()

        with refused("request_undone", status=409):
            waiting.result(timeout=10)
        assert race.watcher.allocations(payment) == {}

    def test_without_a_key_it_waits_and_leaves_it(self, race: Race[Books]) -> None:
        """The regression: the compensation after a time-out undid what was made after all."""
        customer = race.watcher.customer()
        payment, invoice = race.watcher.payment(customer, 800), race.watcher.invoice(customer, 500)

        race.first.allocate(payment, {invoice: 300})
        waiting = race.second_waits(lambda: roll_back(race.second, payment))
        race.first.connection.commit()

        assert waiting.result(timeout=10) == (True, 0, 0, False)
        assert race.watcher.allocations(payment) == {invoice: 300}

    def test_twice_at_once_gives_one_answer(self, race: Race[Books]) -> None:
        customer = race.watcher.customer()
        payment, invoice = race.watcher.payment(customer, 800), race.watcher.invoice(customer, 500)
        for books in (race.first, race.second):
            with_key(books, "timed out")
        race.second.allocate(payment, {invoice: 300})

        first = roll_back(race.first, payment)
        waiting = race.second_waits(lambda: roll_back(race.second, payment))
        race.first.connection.commit()

        assert waiting.result(timeout=10) == first == (True, 1, 300, True)


class TestVoiding:
    """A payment is voided while somebody allocates it, and the other way round."""

    @pytest.mark.parametrize("directly", [False, True])
    def test_allocating_waits_and_is_refused(self, race: Race[Books], directly: bool) -> None:  # noqa: FBT001 - pytest's parameter
        customer = race.watcher.customer()
        payment, invoice = race.watcher.payment(customer, 800), race.watcher.invoice(customer, 500)

        void(race.first, payment)
        if directly:
            waiting = race.second_waits(
                lambda: race.second.allocate_directly(payment, invoice, 300)
            )
        else:
            waiting = race.second_waits(lambda: race.second.allocate(payment, {invoice: 300}))
        race.first.connection.commit()

        expected = ruled_out("payments_voided_holds_nothing") if directly else None
        with expected or refused("payment_voided", status=409):
            waiting.result(timeout=10)
        assert race.watcher.broken() == []

    @pytest.mark.parametrize("directly", [False, True])
    def test_voiding_waits_and_takes_it_off(self, race: Race[Books], directly: bool) -> None:  # noqa: FBT001 - pytest's parameter
        customer = race.watcher.customer()
        payment, invoice = race.watcher.payment(customer, 800), race.watcher.invoice(customer, 500)

        if directly:
            race.first.allocate_directly(payment, invoice, 300)
        else:
            race.first.allocate(payment, {invoice: 300})
        waiting = race.second_waits(lambda: void(race.second, payment)[:4])
        race.first.connection.commit()

        assert waiting.result(timeout=10) == (True, 1, 300, 800)
        assert race.watcher.invoice_totals(invoice) == (0, 500, "sent")
        assert race.watcher.broken() == []

    def test_voiding_directly_waits_and_is_refused(self, race: Race[Books]) -> None:
        customer = race.watcher.customer()
        payment, invoice = race.watcher.payment(customer, 800), race.watcher.invoice(customer, 500)
        race.first.allocate(payment, {invoice: 300})
        waiting = race.second_waits(
            lambda: race.second.run(
                "update public.payments set voided_at = now(), void_reason = 'x' where id = %s",
                payment,
            )
        )
        race.first.connection.commit()
        with ruled_out("payments_voided_holds_nothing"):
            waiting.result(timeout=10)

    def test_twice_at_once_voids_once(self, race: Race[Books]) -> None:
        payment = race.watcher.payment(race.watcher.customer(), 800)
        void(race.first, payment, "first")
        waiting = race.second_waits(lambda: void(race.second, payment, "second"))
        race.first.connection.commit()
        with refused("payment_voided") as facts:
            waiting.result(timeout=10)
        assert facts["void_reason"] == "first"


class TestChanging:
    """The amount is changed while somebody allocates, and the other way round."""

    def test_lowering_waits_and_is_measured_against_the_allocation(self, race: Race[Books]) -> None:
        customer = race.watcher.customer()
        payment, invoice = race.watcher.payment(customer, 800), race.watcher.invoice(customer, 900)
        race.first.allocate(payment, {invoice: 800})
        waiting = race.second_waits(lambda: update(race.second, payment, 500))
        race.first.connection.commit()
        with refused("amount_below_allocated", status=409) as facts:
            waiting.result(timeout=10)
        assert facts["allocated"] == 800

    def test_allocating_waits_and_is_measured_against_the_new_amount(
        self, race: Race[Books]
    ) -> None:
        customer = race.watcher.customer()
        payment, invoice = race.watcher.payment(customer, 800), race.watcher.invoice(customer, 900)
        update(race.first, payment, 500)
        waiting = race.second_waits(lambda: race.second.allocate(payment, {invoice: 501}))
        race.first.connection.commit()
        with refused("allocation_exceeds_payment") as facts:
            waiting.result(timeout=10)
        assert facts["available"] == 500

    def test_replacing_waits_for_another_payment_of_the_invoice(self, race: Race[Books]) -> None:
        customer = race.watcher.customer()
        one, two = (race.watcher.payment(customer, 800) for _ in range(2))
        invoice = race.watcher.invoice(customer, 1000)
        race.watcher.allocate(one, {invoice: 100})
        race.first.allocate(two, {invoice: 600})
        waiting = race.second_waits(lambda: update(race.second, one, None, {invoice: 500}))
        race.first.connection.commit()
        with refused("allocation_exceeds_invoice") as facts:
            waiting.result(timeout=10)
        assert facts["available"] == 400

    def test_taking_off_waits_for_the_replacement(self, race: Race[Books]) -> None:
        customer = race.watcher.customer()
        payment = race.watcher.payment(customer, 800)
        before, after = (race.watcher.invoice(customer, 1000) for _ in range(2))
        race.watcher.allocate(payment, {before: 800})
        update(race.first, payment, 700, {after: 650})
        waiting = race.second_waits(lambda: unallocate(race.second, payment, [before]))
        race.first.connection.commit()
        with refused("allocation_not_found", status=404):
            waiting.result(timeout=10)
        assert race.watcher.allocations(payment) == {after: 650}

    def test_invoices_before_and_after_are_locked_in_one_order(self, race: Race[Books]) -> None:
        """Each moves its money to where the other's is; locking in two steps would deadlock."""
        customer = race.watcher.customer()
        one, two = (race.watcher.payment(customer, 500) for _ in range(2))
        left, right = (race.watcher.invoice(customer, 1000) for _ in range(2))
        race.watcher.allocate(one, {left: 500})
        race.watcher.allocate(two, {right: 500})
        update(race.first, one, None, {right: 500})
        waiting = race.second_waits(lambda: update(race.second, two, None, {left: 500}))
        race.first.connection.commit()
        waiting.result(timeout=10)
        assert race.watcher.invoice_totals(left) == (500, 500, "partially_paid")
        assert race.watcher.invoice_totals(right) == (500, 500, "partially_paid")
        assert race.watcher.broken() == []


WRITERS = 4


@dataclass(frozen=True)
class Company:
    """One of several who call whatever RPC they like on the same payments and invoices."""

    books: Books
    chance: Random
    payments: Sequence[UUID]
    invoices: Sequence[UUID]

    def act(self) -> None:
        """One call, with a key that others may use too, or with none."""
        payment = self.chance.choice(self.payments)
        some = self.chance.sample(self.invoices, self.chance.randint(1, len(self.invoices)))
        lines = {invoice: self.chance.randint(1, 300) for invoice in some}
        key = str(self.chance.randint(0, 30)) if self.chance.random() < 0.5 else ""
        self.books.setting(KEY, key)
        match self.chance.randint(0, 99):
            case low if low < 30:
                self.books.allocate(payment, lines, validate=low < 10)
            case low if low < 50:
                roll_back(self.books, payment)
            case low if low < 60:
                unallocate(self.books, payment, some if low < 55 else None)
            case low if low < 98:
                update(self.books, payment, self.chance.randint(500, 1500), lines)
            case _:
                void(self.books, payment)

    def outcomes(self) -> set[str]:
        """What forty calls ended in."""
        found = set()
        for _ in range(40):
            try:
                self.act()
            except psycopg.DatabaseError as error:
                found.add(error.diag.sqlstate or "lost")
            else:
                found.add("done")
        return found


@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 40))]
)
def test_rpcs_among_themselves_never_deadlock(database: Database, seed: int) -> None:
    watcher = Books(database.connect(autocommit=True))
    customer = watcher.customer()
    invoices = [watcher.invoice(customer, 700) for _ in range(5)]
    payments = [watcher.payment(customer, 1000) for _ in range(12)]
    company = [
        Company(
            Books(database.connect(autocommit=True)),
            Random(f"{seed} {number}"),  # noqa: S311 - a test that can be run again
            payments,
            invoices,
        )
        for number in range(WRITERS)
    ]

    with ThreadPoolExecutor(WRITERS) as pool:
        outcomes = set().union(*pool.map(Company.outcomes, company))

    assert "done" in outcomes
    assert outcomes <= {"done", "PT404", "PT409"}
    assert watcher.broken() == []
    assert watcher.violations() == set()
