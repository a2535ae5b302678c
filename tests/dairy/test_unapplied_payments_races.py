"""Two sessions at once write a payment and its mirror: one row is left, and it is true."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from uuid import UUID

import psycopg
import pytest

from dairy.books import Books, refused
from dairy.racing import Race, racing
from support.databases import MIGRATIONS, Database

MIGRATION = MIGRATIONS / "20250920000000_gap_004_unapplied_payments.sql"
WRITERS = 4
STEPS = 40


@pytest.fixture
def race(dairy_004: Database) -> Iterator[Race[Books]]:
    with racing(dairy_004, Books) as prepared:
        yield prepared


def write(books: Books, payment: UUID, amount: int = 1) -> int:
    """Insert a row as the app does; how many came back."""
    return len(
        books.rows(
            "insert into public.unapplied_payments (customer_id, payment_id, amount_unapplied)"
            " select customer_id, id, %s from public.payments where id = %s returning id",
            amount,
            payment,
        )
    )


def update(books: Books, payment: UUID) -> int:
    return books.run(
        "update public.unapplied_payments set amount_unapplied = 1 where payment_id = %s", payment
    )


def delete(books: Books, payment: UUID) -> int:
    return books.run("delete from public.unapplied_payments where payment_id = %s", payment)


@pytest.mark.parametrize(("allocated", "left"), [(300, [500]), (800, [])])
@pytest.mark.parametrize("act", [write, update, delete])
@pytest.mark.parametrize("allocation_first", [True, False])
def test_a_direct_write_meets_an_allocation(
    race: Race[Books],
    act: Callable[[Books, UUID], int],
    allocated: int,
    left: list[int],
    *,
    allocation_first: bool,
) -> None:
    customer = race.watcher.customer()
    payment, invoice = race.watcher.payment(customer, 800), race.watcher.invoice(customer, 1000)
    if allocation_first:
        race.first.allocate(payment, {invoice: allocated})
        waiting = race.second_waits(lambda: act(race.second, payment))
    else:
        act(race.first, payment)
        waiting = race.second_waits(lambda: race.second.allocate(payment, {invoice: allocated}))
    race.first.connection.commit()
    waiting.result(timeout=10)
    assert race.watcher.unapplied(payment) == left
    assert race.watcher.violations() == set()


def test_two_rows_for_one_payment_at_once(race: Race[Books]) -> None:
    payment = race.watcher.payment(race.watcher.customer(), 800)
    write(race.first, payment)
    waiting = race.second_waits(lambda: write(race.second, payment))
    race.first.connection.commit()
    assert waiting.result(timeout=10) == 1
    assert race.watcher.unapplied(payment) == [800]


def test_a_row_for_a_payment_that_is_being_deleted(race: Race[Books]) -> None:
    customer = race.watcher.customer()
    payment = race.watcher.payment(customer, 800)
    race.first.run("delete from public.payments where id = %s", payment)
    waiting = race.second_waits(lambda: write(race.second, payment))
    race.first.connection.commit()
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        waiting.result(timeout=10)


def test_a_payment_is_deleted_while_its_row_is_written(race: Race[Books]) -> None:
    payment = race.watcher.payment(race.watcher.customer(), 800)
    write(race.first, payment)
    waiting = race.second_waits(
        lambda: race.second.run("delete from public.payments where id = %s", payment)
    )
    race.first.connection.commit()
    assert waiting.result(timeout=10) == 1
    assert race.watcher.unapplied(payment) == []


def test_an_allocation_of_a_payment_that_is_being_deleted(race: Race[Books]) -> None:
    customer = race.watcher.customer()
    payment, invoice = race.watcher.payment(customer, 800), race.watcher.invoice(customer, 1000)
    race.first.run("delete from public.payments where id = %s", payment)
    waiting = race.second_waits(lambda: race.second.allocate(payment, {invoice: 300}))
    race.first.connection.commit()
    with refused("payment_not_found", status=404):
        waiting.result(timeout=10)


@pytest.mark.parametrize("repair_first", [True, False])
def test_a_repair_meets_an_allocation(dairy_003: Database, *, repair_first: bool) -> None:
    with racing(dairy_003, Books) as race:
        customer = race.watcher.customer()
        payment, invoice = race.watcher.payment(customer, 800), race.watcher.invoice(customer, 1000)
        race.watcher.connection.execute(MIGRATION.read_bytes())
        repair = "select * from public.fix_unapplied_payments_inconsistencies(false)"
        if repair_first:
            race.first.rows(repair)
            waiting = race.second_waits(lambda: race.second.allocate(payment, {invoice: 300}))
        else:
            race.first.allocate(payment, {invoice: 300})
            waiting = race.second_waits(lambda: race.second.rows(repair))
        race.first.connection.commit()
        waiting.result(timeout=10)
        assert race.watcher.unapplied(payment) == [500]
        assert race.watcher.violations() == set()


def test_a_call_that_waits_for_the_deploy_goes_through(dairy_003: Database) -> None:
    with racing(dairy_003, Books) as race:
        customer = race.watcher.customer()
        payment, invoice = race.watcher.payment(customer, 800), race.watcher.invoice(customer, 1000)
        race.first.connection.execute(MIGRATION.read_bytes())
        waiting = race.second_waits(lambda: race.second.allocate(payment, {invoice: 300}))
        race.first.connection.commit()
        waiting.result(timeout=10)
        assert race.watcher.unapplied(payment) == [500]


def act_at_random(
    books: Books, chance: Random, payments: Sequence[UUID], invoices: Sequence[UUID]
) -> None:
    payment, invoice, amount = (
        chance.choice(payments),
        chance.choice(invoices),
        chance.randint(1, 9),
    )
    match chance.randint(0, 9):
        case 0 | 1:
            books.allocate(payment, {invoice: amount * 40}, validate=False)
        case 2:
            books.allocate_directly(payment, invoice, amount * 40)
        case 3:
            books.run("delete from public.invoice_payments where payment_id = %s", payment)
        case 4:
            books.run("update public.payments set amount = %s where id = %s", amount * 90, payment)
        case 5:
            books.run("update public.payments set customer_id = null where id = %s", payment)
        case 6:
            books.run(
                "update public.payments set customer_id = (select customer_id"
                " from public.invoice_metadata where id = %s) where id = %s",
                invoice,
                payment,
            )
        case 7:
            write(books, payment, amount)
        case 8:
            books.run("update public.unapplied_payments set amount_unapplied = %s", amount)
        case _:
            chance.choice([update, delete])(books, payment)


@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 40))]
)
def test_the_mirror_is_true_whatever_meets_whatever(dairy_004: Database, seed: int) -> None:
    watcher = Books(dairy_004.connect(autocommit=True))
    customer = watcher.customer()
    payments = [watcher.payment(customer, 500) for _ in range(3)]
    invoices = [watcher.invoice(customer, 700) for _ in range(3)]

    def work(books: Books, number: int) -> set[str]:
        chance = Random(f"{seed} {number}")  # noqa: S311 - a test that can be run again
        outcomes = set()
        for _ in range(STEPS):
            try:
                act_at_random(books, chance, payments, invoices)
            except psycopg.DatabaseError as error:
                outcomes.add(error.diag.sqlstate or "lost")
            else:
                outcomes.add("done")
        return outcomes

    sessions = [Books(dairy_004.connect(autocommit=True)) for _ in range(WRITERS)]
    with ThreadPoolExecutor(WRITERS) as pool:
        outcomes = set().union(*pool.map(work, sessions, range(WRITERS)))

    assert "done" in outcomes
    assert outcomes <= {"done", "40P01", "PT422", "23514", "23505"}
    assert watcher.broken() == []
    assert watcher.violations() == set()
