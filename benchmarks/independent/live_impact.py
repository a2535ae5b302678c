"""Target 7: what the app feels of a deploy.

The 99th percentile of the app's statements while a gap is deployed is at most 1.5 times that
without; the longest stall is reported.

Eight clients, each a process, do what the app does, statement by statement: an invoice, a payment
put on it, and the screens in between; 20 ms after each answer comes the next. Gap after gap is
deployed meanwhile, each with all its proof, on the machine where everything else runs too.

Readings. *While a gap is deployed*: from the command's begin to its end, all gaps together or the
worst of them; or only from the end of its rehearsal to the commit, when the live database is
changed. *Without*: with nothing else at work just before, or while the same gap is rehearsed, which
takes the same processors and changes nothing. *The longest stall*: of one statement. Books of the
live size, and larger ones.
"""

import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from multiprocessing.connection import Connection as Pipe
from multiprocessing.synchronize import Event
from pathlib import Path

import psycopg

from independent import month_end
from independent.clients import CLIENTS, SqlSession
from independent.command import Project, copy_of_ours
from independent.figures import (
    Effort,
    Figure,
    Limit,
    at_most,
    middle,
    ratios,
    share_within,
    tell,
)
from independent.server import DURABLE, MIGRATIONS, SUPERUSER, Server, Values, running

_TARGET = 7
_PAUSE_SECONDS = 0.02
_BASELINE = "baseline"
_WORK = "work"


@dataclass
class _Met:
    """What the clients met.

    Attributes:
        answers: Of each statement when it was sent, when its answer came, and its first words.
        failed: What was said to the others.
    """

    answers: list[tuple[float, float, str]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def within(self, *windows: tuple[float, float]) -> list[tuple[float, str]]:
        """Seconds, and words, of those that were under way in one of the windows."""
        return [
            (answered - sent, words)
            for sent, answered, words in self.answers
            if any(answered >= begin and sent <= end for begin, end in windows)
        ]

    def p99(self, *windows: tuple[float, float]) -> float:
        """Milliseconds."""
        return 1000 * share_within((took for took, _ in self.within(*windows)), 0.99)


@dataclass(frozen=True)
class _Gap:
    """When what was at work, on the monotonic clock."""

    stem: str
    quiet: tuple[float, float]
    rehearsed: tuple[float, float]
    deployed: tuple[float, float]
    changed: tuple[float, float]


def measure(effort: Effort) -> Iterator[Figure]:
    """Target 7, figure by figure."""
    gaps = sorted(path.stem for path in MIGRATIONS.glob("*.sql"))[1:]
    if effort.quick:
        gaps = gaps[:1]
    sizes = {"the live size": 154} if effort.quick else {"the live size": 154, "larger": 5_000}
    with running(DURABLE) as server, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_of_ours(folder)
        for words, customers in sizes.items():
            server.create(_BASELINE, upto="_baseline")
            month_end.fill(server, _BASELINE, customers)
            with server.connect(_BASELINE, SUPERUSER) as session:
                session.execute("set session_replication_role = replica")
                for statement in _PAID:
                    session.execute(statement.encode())
            server.settle(_BASELINE)
            Project(folder, server.url(_BASELINE)).pymilk("adopt", "--yes")
            rounds = []
            for number in range(effort.rounds):
                server.clone(_WORK, _BASELINE)
                project = Project(folder, server.url(_WORK))
                rounds.append(_round(server, project, gaps, effort.pick(5, 1)))
                tell(f"books of {words}: round {number + 1}")
            yield from _figures(f"books of {words}, {customers} customers", rounds)
            server.drop(_BASELINE)
            server.drop(_WORK)


def _round(
    server: Server, project: Project, gaps: list[str], quiet: float
) -> tuple[_Met, list[_Gap]]:
    when = []
    with _app_at_work(server) as met:
        time.sleep(1)  # until every client has planned its statements
        for stem in gaps:
            version = stem.split("_", 1)[0]
            began = time.monotonic()
            time.sleep(quiet)
            ended = time.monotonic()
            rehearsed = project.pymilk("rehearse", version)
            deployed = project.pymilk("deploy", version, "--yes")
            when.append(
                _Gap(
                    stem,
                    (began, ended),
                    (rehearsed.began, rehearsed.ended),
                    (deployed.began, deployed.ended),
                    deployed.step("apply", after="rehearsal"),
                )
            )
            tell(f"{stem}: deployed in {deployed.seconds:.1f} s")
    return met, when


def _figures(books: str, rounds: list[tuple[_Met, list[_Gap]]]) -> Iterator[Figure]:
    p99: dict[str, list[float]] = {
        kind: [met.p99(*(getattr(gap, kind) for gap in gaps)) for met, gaps in rounds]
        for kind in ("quiet", "rehearsed", "deployed", "changed")
    }

    def figure(kind: str, reading: str, than: str, limit: Limit | None = None) -> Figure:
        return Figure(
            _TARGET,
            f"p99 of the app's statements; {books}",
            reading,
            ratios(p99[kind], p99[than]),
            limit=limit,
            note=f"{middle(p99[kind]):.3g} and {middle(p99[than]):.3g} ms",
        )

    limit = at_most(1.5)
    yield figure("deployed", "all deploys, against nothing at work", "quiet", limit)
    yield figure("deployed", "all deploys, against rehearsals", "rehearsed", limit)
    yield figure("changed", "the changes alone, against nothing at work", "quiet", limit)
    yield figure("changed", "the changes alone, against rehearsals", "rehearsed", limit)
    yield figure("rehearsed", "rehearsals, against nothing at work", "quiet")
    worst = [
        max((met.p99(gap.deployed) / met.p99(gap.quiet), gap.stem) for gap in gaps)
        for met, gaps in rounds
    ]
    yield Figure(
        _TARGET,
        f"p99 of the app's statements; {books}",
        "the worst deploy, against nothing at work before it",
        tuple(ratio for ratio, _ in worst),
        limit=limit,
        note=", ".join(sorted({stem for _, stem in worst})),
    )
    for kind, words in (
        ("deployed", "while a gap is deployed"),
        ("changed", "while the database is changed"),
        ("rehearsed", "while a gap is rehearsed"),
        ("quiet", "with nothing else at work"),
    ):
        longest = [
            max((*max(met.within(getattr(gap, kind))), gap.stem) for gap in gaps)
            for met, gaps in rounds
        ]
        yield Figure(
            _TARGET,
            f"longest stall of a statement; {books}",
            words,
            tuple(1000 * took for took, _, _ in longest),
            "ms",
            None,
            "{1}; {2}".format(*max(longest)),
        )
    said = {failure for met, _ in rounds for failure in met.failed}
    yield Figure(
        _TARGET,
        f"statements that failed; {books}",
        "the app's, all the while",
        tuple(float(len(met.failed)) for met, _ in rounds),
        "",
        None,
        "; ".join(sorted(said)[:3]),
    )


class _TimedSession(SqlSession):
    """Notes of each trip when it was sent and answered."""

    def __init__(self, url: str, before: tuple[str, ...]) -> None:
        super().__init__(url, before)
        self.met = _Met()

    def trip(self, what: str, values: Values) -> object:
        """Execute a statement, note it, and pause."""
        sent = time.monotonic()
        row = super().trip(what, values)
        self.met.answers.append((sent, time.monotonic(), " ".join(what.split())[:50]))
        time.sleep(_PAUSE_SECONDS)
        return row


@contextmanager
def _app_at_work(server: Server) -> Iterator[_Met]:
    """Eight clients until the block ends; then it is known what they met."""
    context = multiprocessing.get_context("fork")
    stop = context.Event()
    met = _Met()
    url = server.url(_WORK)
    started = []
    for number in range(CLIENTS):
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=_client, args=(url, number, stop, there))
        process.start()
        there.close()
        started.append((process, here))
    try:
        yield met
    finally:
        stop.set()
        for process, pipe in started:
            one: _Met = pipe.recv()
            process.join()
            met.answers += one.answers
            met.failed += one.failed


def _client(url: str, number: int, stop: Event, pipe: Pipe) -> None:
    session = _TimedSession(url, ("set role authenticated",))
    customer = _id(session.trip(_NEW_CUSTOMER, [f"At work {number}"]))
    day = date(1990, 1, 1)
    while not stop.is_set():
        day += timedelta(days=1)
        try:
            _work(session, customer, day)
        except psycopg.Error as error:
            session.met.failed.append(str(error).splitlines()[0])
    session.close()
    pipe.send(session.met)


def _id(row: object) -> str:
    if not isinstance(row, tuple):
        raise TypeError(f"a row with an id, not {row!r}")
    return str(row[0])


_NEW_CUSTOMER = (
    "insert into public.customers (billing_name, opening_balance) values (%s, 0) returning id"
)


def _work(session: SqlSession, customer: str, day: date) -> None:
    """An invoice is written, a payment of 500 comes in, 200 of it are put on the invoice."""
    known: dict[str, object] = {"customer": customer, "day": day}
    known["invoice"] = _id(session.trip(_NEW_INVOICE, known))
    known["payment"] = _id(session.trip(_NEW_PAYMENT, known))
    for statement in _SERIES:
        session.trip(statement, known)


_NEW_INVOICE = """
insert into public.invoice_metadata (
  customer_id, invoice_date, period_start, period_end, total_amount, amount_outstanding,
  invoice_status, due_date
)
values (
  %(customer)s, %(day)s, %(day)s, %(day)s, 300, 300, 'sent', '2999-01-01'
)
returning id
"""

_NEW_PAYMENT = """
insert into public.payments (
  customer_id, amount, payment_date, allocation_status, amount_unapplied
)
values (%(customer)s, 500, %(day)s, 'unapplied', 500)
returning id
"""

_SERIES = (
    """
    insert into public.unapplied_payments (customer_id, payment_id, amount_unapplied)
    values (%(customer)s, %(payment)s, 500)
    """,
    "select public.calculate_customer_outstanding(%(customer)s)",
    """
    insert into public.invoice_payments (invoice_id, payment_id, amount_allocated)
    values (%(invoice)s, %(payment)s, 200)
    """,
    """
    update public.invoice_metadata
    set amount_paid = 200, amount_outstanding = 100, invoice_status = 'partially_paid'
    where id = %(invoice)s
    """,
    """
    update public.payments
    set amount_applied = 200, amount_unapplied = 300, allocation_status = 'partially_applied'
    where id = %(payment)s
    """,
    "update public.unapplied_payments set amount_unapplied = 300 where payment_id = %(payment)s",
    """
    select id, amount from public.payments
    where customer_id = %(customer)s order by payment_date desc limit 10
    """,
    """
    select id, total_amount, amount_outstanding from public.invoice_metadata
    where customer_id = %(customer)s order by invoice_date desc limit 10
    """,
    """
    select count(*), sum(total_amount) from public.deliveries where order_date = '2025-09-15'
    """,
    "update public.payments set notes = 'seen' where id = %(payment)s",
)

# Every customer has an invoice of August, and a payment that paid half of it.
_PAID = (
    """
    insert into public.invoice_metadata (
      invoice_number, customer_id, invoice_date, period_start, period_end, total_amount,
      subscription_amount, status, due_date, last_payment_date, invoice_status, amount_paid,
      amount_outstanding
    )
    select
      '202526' || lpad((row_number() over (order by billing_name))::text, 5, '0'), id,
      '2025-09-01', '2025-08-01', '2025-08-31', 600, 600, 'Sent', '2999-01-01', '2025-09-05',
      'partially_paid', 300, 300
    from public.customers
    """,
    """
    insert into public.payments (
      customer_id, amount, payment_date, payment_method, allocation_status, amount_applied,
      amount_unapplied
    )
    select id, 300, '2025-09-05', 'UPI', 'fully_applied', 300, 0 from public.customers
    """,
    """
    insert into public.invoice_payments (invoice_id, payment_id, amount_allocated)
    select invoice.id, payment.id, 300
    from public.invoice_metadata as invoice
    inner join public.payments as payment on invoice.customer_id = payment.customer_id
    """,
)
