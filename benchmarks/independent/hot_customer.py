"""Target 2: one hot customer.

Eight clients on one customer: no deadlock, no retry storm, at least 0.6 of eight clients who update
one row by a plain update; and a payment onto 1,000 invoices in one call within 3 times the bare
inserts and updates.

Readings. *One hot customer*: each payment pays its own invoice of the one customer; all pay one
invoice; all are recorded onto the one opening balance (whose row is the customer's). *A plain
update*: of a row of a table of its own, or of that very invoice without triggers and checks; each
with commits that wait for the disk, and with commits that don't. *No deadlock, no retry storm*:
no call fails (the clients repeat nothing), and Postgres counts no deadlock. *Bare inserts and
updates*: one statement for all rows, with the journal's or without; or a statement a row, in one
transaction.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from independent import payments
from independent.clients import Ran, Session, SqlSession, run
from independent.figures import (
    Comparison,
    Effort,
    Figure,
    at_least,
    at_most,
    in_turns,
)
from independent.payments import Layout, Task
from independent.server import (
    ON_LOOPBACK,
    OWNER,
    SUPERUSER,
    Server,
    number,
    running,
)

_TARGET = 2
_DEPLOYED = "deployed"
_BARE = "bare"

_OWN_ROW = "update public.hot set n = n + 1 where id = 1"
_INVOICE = (
    "update public.invoice_metadata set amount_paid = amount_paid + 1,"
    " amount_outstanding = amount_outstanding - 1 where id = (%s)"
)
_RECORD = "select * from public.record_payment_atomic(%s)"

_WAITING = {"commits wait for the disk": "on", "commits don't wait": "off"}


@dataclass(frozen=True)
class _Side:
    database: str
    user: str
    before: tuple[str, ...]
    perform: Callable[[Session, Task], None]
    recorded: bool = True
    one_invoice: bool = False


def _on_opening_balance(session: Session, task: Task) -> None:
    payment = {"customer_id": task.customer, "amount": 100, "opening_balance": 100}
    session.trip(_RECORD, [json.dumps(payment)])


def _update_own_row(session: Session, _task: Task) -> None:
    session.trip(_OWN_ROW, ())


def _update_invoice(session: Session, task: Task) -> None:
    session.trip(_INVOICE, [task.invoices[0]])


_SUBJECTS = {
    "allocate, each its own invoice": _Side(_DEPLOYED, OWNER, payments.AS_APP, payments.allocate),
    "allocate, all on one invoice": _Side(
        _DEPLOYED, OWNER, payments.AS_APP, payments.allocate, one_invoice=True
    ),
    "record, each its own invoice": _Side(
        _DEPLOYED, OWNER, payments.AS_APP, payments.record, recorded=False
    ),
    "record, all on one invoice": _Side(
        _DEPLOYED, OWNER, payments.AS_APP, payments.record, recorded=False, one_invoice=True
    ),
    "record, all on the opening balance": _Side(
        _DEPLOYED, OWNER, payments.AS_APP, _on_opening_balance, recorded=False
    ),
}

_REFERENCES = {
    "a row of a table of its own": _Side(_BARE, OWNER, (), _update_own_row),
    "the invoice's row": _Side(_BARE, OWNER, (), _update_invoice, one_invoice=True),
}


def measure(effort: Effort) -> Iterator[Figure]:
    """Target 2, figure by figure."""
    with running(ON_LOOPBACK) as server:
        server.create(_DEPLOYED)
        server.clone(_BARE, _DEPLOYED)
        server.strip(_BARE)
        with server.connect(_BARE) as session:
            session.execute("create table public.hot (id integer primary key, n bigint not null)")
            session.execute("insert into public.hot values (1, 0)")
        yield from _hot(server, effort)
        yield from _thousand(server, effort)


def _hot(server: Server, effort: Effort) -> Iterator[Figure]:
    deadlocks = _deadlocks(server)
    failed: list[float] = []
    said: set[str] = set()
    for words, setting in _WAITING.items():

        def rate(side: _Side, setting: str = setting) -> float:
            ran = _run(server, side, effort, f"set synchronous_commit = {setting}")
            failed.append(ran.failed.total())
            said.update(ran.failed)
            return ran.rate

        sides = {**_SUBJECTS, **_REFERENCES}
        measured = in_turns(
            {name: partial(rate, side) for name, side in sides.items()}, effort.rounds
        )
        compared = Comparison(_TARGET, measured, at_least(0.6), "calls/s")
        for subject in _SUBJECTS:
            for reference in _REFERENCES:
                yield compared.figure(subject, f"against {reference}; {words}", subject, reference)
    yield Figure(
        _TARGET, "calls that failed", "of all of the above, nothing repeated", tuple(failed),
        "calls", at_most(0), "; ".join(sorted(said)),
    )  # fmt: skip
    counted = _deadlocks(server) - deadlocks
    yield Figure(_TARGET, "deadlocks", "counted by Postgres", (counted,), "", at_most(0))


def _deadlocks(server: Server) -> float:
    with server.connect("postgres", SUPERUSER) as session:
        return number(session, "select sum(deadlocks) from pg_catalog.pg_stat_database")


def _run(server: Server, side: _Side, effort: Effort, *before: str) -> Ran:
    layout = Layout(effort.pick(400, 12), customers=1, recorded=side.recorded)
    work = payments.lay_out(server, side.database, layout)
    if side.one_invoice:
        work = _onto_one(server, side.database, work)
    with server.connect(side.database, SUPERUSER) as session:
        session.execute("set session_replication_role = replica")
        session.execute("update public.customers set opening_balance = 1000000")
    url = server.loopback(side.database, side.user)
    ran = run(partial(SqlSession, url, (*side.before, *before)), side.perform, work)
    if side.database == _DEPLOYED and not ran.failed:
        _refuse_lost(server, payments.LINE * sum(map(len, work)))
    return ran


_ON_PAYMENTS = "select sum(amount_applied) from public.payments"
_ON_WHAT_IS_OWED = """
select
  (select sum(amount_paid) from public.invoice_metadata)
  + (select sum(opening_balance_paid) from public.customers)
"""


def _refuse_lost(server: Server, applied: float) -> None:
    """Every call counts: nobody has written over what another one wrote."""
    with server.connect(_DEPLOYED, SUPERUSER) as session:
        for query in (_ON_PAYMENTS, _ON_WHAT_IS_OWED):
            found = number(session, query)
            if found != applied:
                raise AssertionError(f"{query}: {found}, not {applied}")


def _onto_one(server: Server, database: str, work: list[list[Task]]) -> list[list[Task]]:
    """Let all tasks pay one invoice that is large enough for all of them."""
    (invoice,) = work[0][0].invoices
    with server.connect(database, SUPERUSER) as session:
        session.execute("set session_replication_role = replica")
        session.execute(
            "update public.invoice_metadata set total_amount = 1000000,"
            " subscription_amount = 1000000, amount_outstanding = 1000000 where id = %s",
            [invoice],
        )
    return [[replace(task, invoices=(invoice,)) for task in tasks] for tasks in work]


@dataclass(frozen=True)
class _Call:
    """One way to write a payment onto many invoices."""

    database: str
    before: tuple[str, ...]
    perform: Callable[[SqlSession, Task], None]

    def seconds(self, server: Server, lines: int, *, recorded: bool) -> float:
        """Of one call, on the average of three."""
        layout = Layout(4, lines=lines, customers=1, recorded=recorded, clients=1)
        (tasks,) = payments.lay_out(server, self.database, layout)
        session = SqlSession(server.loopback(self.database), self.before)
        self.perform(session, tasks[0])
        started = time.perf_counter()
        for task in tasks[1:]:
            self.perform(session, task)
        taken = time.perf_counter() - started
        session.close()
        payments.refuse_untrue(server, self.database, [tasks], kept=False)
        return taken / len(tasks[1:])


def _thousand(server: Server, effort: Effort) -> Iterator[Figure]:
    lines = effort.pick(1000, 20)
    for name, calls in _CALLS.items():
        measured = in_turns(
            {
                way: partial(call.seconds, server, lines, recorded=name == "allocate")
                for way, call in calls.items()
            },
            effort.rounds,
        )
        compared = Comparison(_TARGET, measured, at_most(3))
        for reference in calls:
            if reference != "function":
                yield compared.figure(
                    f"{name} one payment onto {lines} invoices",
                    f"bare: {reference}",
                    "function",
                    reference,
                )


def _row_by_row(session: SqlSession, task: Task) -> None:
    """The bare inserts and updates, a statement each, sent together in one transaction."""
    with session.connection.transaction(), session.connection.cursor() as cursor:
        cursor.executemany(
            "insert into public.invoice_payments (invoice_id, payment_id, amount_allocated)"
            " values (%s, %s, %s)",
            [(invoice, task.payment, payments.LINE) for invoice in task.invoices],
        )
        cursor.executemany(
            "update public.invoice_metadata set amount_paid = amount_paid + %s,"
            " amount_outstanding = amount_outstanding - %s, invoice_status = %s,"
            " last_payment_date = %s, updated_at = now() where id = %s",
            [
                (payments.LINE, payments.LINE, task.invoice_status, payments.DAY, invoice)
                for invoice in task.invoices
            ],
        )
        cursor.execute(
            "update public.payments set amount_applied = %s, amount_unapplied = %s,"
            " allocation_status = %s, updated_at = now() where id = %s",
            [task.applied, task.left, task.status, task.payment],
        )
        if task.left:
            cursor.execute(
                "update public.unapplied_payments set amount_unapplied = %s where payment_id = %s",
                [task.left, task.payment],
            )
        else:
            cursor.execute(
                "delete from public.unapplied_payments where payment_id = %s", [task.payment]
            )


def _bare(statement: str) -> _Call:
    return _Call(_BARE, (), partial(payments.write, statement))


_CALLS = {
    "allocate": {
        "function": _Call(_DEPLOYED, payments.AS_APP, payments.allocate),
        "one statement with the journal": _bare(payments.ALLOCATE),
        "one statement without the journal": _bare(payments.ALLOCATE_WITHOUT_JOURNAL),
        "a statement a row": _Call(_BARE, (), _row_by_row),
    },
    "record": {
        "function": _Call(_DEPLOYED, payments.AS_APP, payments.record),
        "one statement with journal and trail": _bare(payments.RECORD),
        "one statement without them": _bare(payments.RECORD_WITHOUT_JOURNAL),
    },
}
"""What is timed → who writes how."""
