"""The live app at work, in a process of its own: eight clients that issue its own statements.

Run as a program with a database's URL: it works until its input is closed, then tells as JSON what
it did. A process of its own, so that what it measures is not our own waiting for the interpreter.
"""

import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from threading import Event

import psycopg
from psycopg.rows import TupleRow

CLIENTS = 8
_PAUSE_SECONDS = 0.02


@dataclass
class Told:
    """What the clients met.

    Attributes:
        transactions: How many went through.
        failed: What was said to those that didn't.
        longest: Seconds of the longest, and which statement it was.
        answered: Of every one that went through, when its answer came (on the machine's monotonic
            clock) and the seconds that it took.
    """

    transactions: int = 0
    failed: list[str] = field(default_factory=list)
    longest: tuple[float, str] = (0.0, "")
    answered: list[tuple[float, float]] = field(default_factory=list, repr=False)

    def within(self, share: float, until: float = math.inf) -> float:
        """Seconds within which such a share of them was done: 0.99 for the 99th percentile.

        Args:
            share: Of all of them.
            until: Only of those that were answered by then.
        """
        seconds = sorted(took for at, took in self.answered if at <= until)
        return seconds[min(int(len(seconds) * share), len(seconds) - 1)]

    def longer(self, seconds: float, since: float) -> int:
        """How many took longer, of those that were answered since then."""
        return sum(at > since and took > seconds for at, took in self.answered)


@contextmanager
def app_at_work(url: str) -> Iterator[Told]:
    """Eight clients, until the block ends; afterwards what they met is known."""
    told = Told()
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__)), url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "at work\n"
    try:
        yield told
    finally:
        out, _ = process.communicate(timeout=60)
        found = json.loads(out)
        told.transactions, told.failed = found["transactions"], found["failed"]
        told.longest = (found["longest"][0], found["longest"][1])
        told.answered = [(at, took) for at, took in found["answered"]]


def _client(url: str, number: int, stop: Event, told: Told) -> None:
    with psycopg.connect(url, autocommit=True, application_name="the app") as session:
        session.execute("set role authenticated")
        (customer,) = _said(
            session.execute(
                "insert into public.customers (billing_name, opening_balance) values (%s, 0)"
                " returning id",
                (f"Load {number}",),
            )
        )
        day = date(1990, 1, 1)
        while not stop.is_set():
            day += timedelta(days=1)
            payment = invoice = None
            for statement in _SERIES:
                needed = {"customer": customer, "day": day, "payment": payment, "invoice": invoice}
                started = time.monotonic()
                try:
                    row = session.execute(statement.encode(), needed).fetchone()
                except psycopg.Error as error:
                    told.failed.append(f"{_short(statement)}: {error}")
                    break
                at = time.monotonic()
                took = at - started
                told.transactions += 1
                told.answered.append((at, took))
                told.longest = max(told.longest, (took, _short(statement)))
                if "into public.payments" in statement:
                    (payment,) = row or (None,)
                elif "into public.invoice_metadata" in statement:
                    (invoice,) = row or (None,)
                time.sleep(_PAUSE_SECONDS)


# A payment comes in, is put on an invoice, looked at and corrected, call by call as the app does.
_SERIES = (
    """insert into public.payments
    (customer_id, amount, payment_date, allocation_status, amount_unapplied)
    values (%(customer)s, 500, %(day)s, 'unapplied', 500) returning id""",
    """insert into public.unapplied_payments (customer_id, payment_id, amount_unapplied)
    values (%(customer)s, %(payment)s, 500) returning id""",
    """insert into public.invoice_metadata
    (customer_id, invoice_date, period_start, period_end, total_amount, amount_outstanding,
    invoice_status, due_date)
    values (%(customer)s, %(day)s, %(day)s, %(day)s, 300, 300, 'sent', '2999-01-01')
    returning id""",
    """insert into public.invoice_payments (invoice_id, payment_id, amount_allocated)
    values (%(invoice)s, %(payment)s, 200) returning id""",
    """update public.invoice_metadata set amount_paid = 200, amount_outstanding = 100,
    invoice_status = 'partially_paid' where id = %(invoice)s returning id""",
    """update public.payments set amount_applied = 200, amount_unapplied = 300,
    allocation_status = 'partially_applied' where id = %(payment)s returning id""",
    """update public.unapplied_payments set amount_unapplied = 300
    where payment_id = %(payment)s returning id""",
    "select public.calculate_customer_outstanding(%(customer)s)",
    """select count(*) from public.daily_orders as o
    inner join public.customers as c on o.customer_id = c.id where c.id = %(customer)s""",
    "update public.payments set notes = 'seen' where id = %(payment)s returning id",
    """select p.id, p.amount from public.payments as p where p.customer_id = %(customer)s
    order by p.payment_date desc limit 5""",
)


def _short(statement: str) -> str:
    return " ".join(statement.split())[:50]


def _said(cursor: psycopg.Cursor[TupleRow]) -> TupleRow:
    row = cursor.fetchone()
    assert row is not None
    return row


def _main(url: str) -> None:
    stop, told = Event(), [Told() for _ in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as pool:
        working = [pool.submit(_client, url, n, stop, told[n]) for n in range(CLIENTS)]
        sys.stdout.write("at work\n")
        sys.stdout.flush()
        sys.stdin.read()
        stop.set()
        for one in working:
            one.result()
    report = {
        "transactions": sum(one.transactions for one in told),
        "failed": [failure for one in told for failure in one.failed],
        "longest": max(one.longest for one in told),
        "answered": [each for one in told for each in one.answered],
    }
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    _main(sys.argv[1])
