"""What comes up while an automatic allocation waits."""

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

from dairy.books import Books, refused
from support.databases import Database
from support.sessions import wait_until_blocked


def test_auto_allocation_pays_only_what_it_holds(dairy_hardened: Database) -> None:
    """An invoice that comes up while it waits is not locked out of turn: no deadlock."""
    watcher = Books(dairy_hardened.connect(autocommit=True))
    customer = watcher.customer()
    mine, other, third = (watcher.payment(customer, 500) for _ in range(3))
    late, first, second = sorted(uuid4() for _ in range(3))

    def issue(invoice: UUID, month: int) -> None:
        watcher.run(
            "insert into public.invoice_metadata (id, customer_id, invoice_date, period_start,"
            " period_end, total_amount, invoice_status) values (%s, %s, '2023-12-31',"
            " make_date(2023, %s, 1), make_date(2023, %s, 28), 100, 'sent')",
            invoice,
            customer,
            month,
            month,
        )

    issue(first, 1)
    issue(second, 2)
    holder = Books(dairy_hardened.connect())
    automatic, named = (Books(dairy_hardened.connect(autocommit=True)) for _ in range(2))
    with ThreadPoolExecutor(2) as pool:
        holder.allocate(third, {second: 10})
        paying = pool.submit(
            automatic.value,
            "select allocated_amount from public.auto_allocate_payment(%s, 'oldest_first')",
            mine,
        )
        wait_until_blocked(watcher.connection, automatic.connection.info.backend_pid)
        issue(late, 3)
        naming = pool.submit(named.allocate, other, {late: 10, first: 10})
        wait_until_blocked(watcher.connection, named.connection.info.backend_pid)
        holder.connection.commit()
        assert paying.result(timeout=10) == 190
        with refused("allocation_exceeds_invoice"):
            naming.result(timeout=10)
    assert watcher.broken() == []
