"""Point 1 of the targets: a payment is allocated or recorded, by eight clients, each on its own.

The subjects are `allocate_payment_atomic` and `record_payment_atomic` as the app's role calls them,
each turn on another customer. Their references:

bare writes            one prepared statement that writes the same rows (the journal's and the
                       trail's too) into the same tables, as a superuser, with every trigger off,
                       those of the foreign keys included
the app's statements   what the app issues without the gaps, on the schema as it was: it looks at
                       the payment and at the invoices, then writes each row, a round trip each

pgbench drives them over the server's socket, so that no driver is measured; psycopg's rows and
PostgREST's are what people see. The round trip of 1 ms is a client that waits for 1 ms before each
statement: for statements that commit by themselves a network does the same, and a proxy on the same
two cores would take the processor from whoever sends more. In memory nothing waits for a disk, and
what is compared is the processor's time; with the disk each commit waits for it, as on a live
server: once for a call and for the bare writes, once for each of the app's statements.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import psycopg

import allocating
import ledgers
import pgbench
import postgrest_clients
import psycopg_clients
import recording
from side_by_side import Effort, Row, Side, alternate, at_least
from support.databases import Database
from support.postgrest import PostgREST, postgrest
from support.tools import tool

_AS_THE_APP = "-c role=authenticated"
_WITHOUT_TRIGGERS = "-c session_replication_role=replica"
_Series = Callable[[PostgREST, str, int], Sequence[bytes]]
_PAID = "select count(*) from public.invoice_metadata where amount_paid = 1000"


def rows(effort: Effort) -> Iterator[Row]:
    """In memory by all ways, then with the disk by pgbench alone."""
    with _bench(effort, turns=effort.choose(6_400, 160), durable=False) as bench:
        yield from _calls(bench, effort, "")
        yield from bench.over_psycopg()
        if tool("postgrest") is not None:
            yield from bench.through_postgrest()
    with _bench(effort, turns=effort.choose(1_600, 80), durable=True) as bench:
        yield from _calls(bench, effort, ", with the disk")


def _calls(bench: "_Bench", effort: Effort, where: str) -> Iterator[Row]:
    """One invoice a payment, and three; then a payment that is recorded with its invoices."""
    for lines in effort.choose((1, 3), (3,)):
        yield from bench.over_sockets(
            f"allocate_payment_atomic, {lines} invoice{'s' if lines > 1 else ''}{where}",
            allocating.call(lines),
            allocating.bare_writes(lines),
            allocating.app_series(lines),
            lines,
        )
    yield from bench.over_sockets(
        f"record_payment_atomic, 3 invoices{where}",
        recording.CALL,
        recording.BARE_WRITES,
        recording.APP_SERIES,
        3,
    )


@contextmanager
def _bench(effort: Effort, *, turns: int, durable: bool) -> Iterator["_Bench"]:
    with (
        ledgers.stages(durable=durable) as templates,
        ledgers.ledgers(templates, ledgers.DEPLOYED, turns) as deployed,
        ledgers.ledgers(templates, ledgers.BEFORE, turns) as before,
    ):
        yield _Bench(deployed, before, turns, effort)


class _Bench:
    def __init__(
        self, deployed: ledgers.Ledgers, before: ledgers.Ledgers, turns: int, effort: Effort
    ) -> None:
        self._deployed, self._before = deployed, before
        self._turns = turns
        self._rounds = effort.choose(5, 1)

    def over_sockets(
        self, what: str, call: str, bare: str, series: Sequence[str], lines: int
    ) -> Iterator[Row]:
        """A call by pgbench's clients against all of its references."""
        far = allocating.at_a_distance
        sides: Mapping[str, Side] = {
            "call": self._by_pgbench(self._deployed, call, lines),
            "bare writes": self._bare_by_pgbench(bare, lines),
            "the app's statements": self._by_pgbench(self._before, "".join(series), lines),
            "call at 1 ms": self._by_pgbench(self._deployed, far([call]), lines),
            "the app's at 1 ms": self._by_pgbench(self._before, far(series), lines),
        }
        found = alternate(sides, rounds=self._rounds, unit="/s")
        yield found.ratio("call", "bare writes", at_least(0.7), name=what)
        yield found.ratio("call", "the app's statements", at_least(1.5), name=what)
        yield found.ratio("call at 1 ms", "the app's at 1 ms", at_least(4), name=f"{what}, 1 ms")

    def over_psycopg(self) -> Iterator[Row]:
        """The calls by clients in Python against the bare writes by the same."""
        calls = {
            "allocate_payment_atomic, 3 invoices": (
                allocating.call(3),
                allocating.bare_writes(3),
            ),
            "record_payment_atomic, 3 invoices": (recording.CALL, recording.BARE_WRITES),
        }
        for what, (call, bare) in calls.items():
            sides: Mapping[str, Side] = {
                "call": self._by_psycopg(call, "set role authenticated"),
                "bare writes": self._by_psycopg(bare, "set session_replication_role = replica"),
            }
            found = alternate(sides, rounds=self._rounds, unit="/s")
            yield found.ratio("call", "bare writes", at_least(0.7), name=f"{what}, over psycopg")

    def through_postgrest(self) -> Iterator[Row]:
        """The call against the app's requests, both through the real PostgREST."""
        sides: Mapping[str, Side] = {
            "call": self._by_postgrest(self._deployed, _call),
            "the app's requests": self._by_postgrest(self._before, _app_series),
        }
        found = alternate(sides, rounds=self._rounds, unit="/s")
        yield found.ratio(
            "call",
            "the app's requests",
            at_least(3),
            name="allocate_payment_atomic, 1 invoice, through PostgREST",
        )

    def _by_pgbench(self, where: ledgers.Ledgers, script: str, lines: int) -> Side:
        def run() -> float:
            with where.fresh() as database:
                speed = pgbench.turns_per_second(
                    database.url, script, turns=self._turns, options=_AS_THE_APP
                )
                _see_that_it_was_done(database, self._turns * lines)
                return speed

        return run

    def _bare_by_pgbench(self, script: str, lines: int) -> Side:
        def run() -> float:
            with self._deployed.fresh() as database:
                speed = pgbench.turns_per_second(
                    database.superuser_url, script, turns=self._turns, options=_WITHOUT_TRIGGERS
                )
                _see_that_it_was_done(database, self._turns * lines)
                return speed

        return run

    def _by_psycopg(self, script: str, settings: str) -> Side:
        def run() -> float:
            with self._deployed.fresh() as database:
                speed = psycopg_clients.turns_per_second(
                    database.superuser_url, script, turns=self._turns, settings=settings
                )
                _see_that_it_was_done(database, self._turns * 3)
                return speed

        return run

    def _by_postgrest(self, where: ledgers.Ledgers, series: _Series) -> Side:
        turns = self._turns // 4

        def run() -> float:
            with where.fresh() as database, postgrest(database) as api:
                token = api.token("authenticated")
                speed = postgrest_clients.turns_per_second(
                    api, lambda number: series(api, token, number), turns=turns
                )
                _see_that_it_was_done(database, turns)
                return speed

        return run


def _call(api: PostgREST, token: str, number: int) -> Sequence[bytes]:
    """One call that pays the first invoice."""
    allocations = [{"invoiceId": ledgers.named("invoice", number * 3), "amount": 1000}]
    body = {
        "p_payment_id": ledgers.named("payment", number),
        "p_allocations": allocations,
        "p_validate_amounts": True,
    }
    path = "/rpc/allocate_payment_atomic"
    return [postgrest_clients.request(api, token, "POST", path, body)]


def _app_series(api: PostgREST, token: str, number: int) -> Sequence[bytes]:
    """What the app sends for the same without the gaps."""
    payment = ledgers.named("payment", number)
    invoice = ledgers.named("invoice", number * 3)
    allocation = {"invoice_id": invoice, "payment_id": payment, "amount_allocated": 1000}
    paid = {
        "amount_paid": 1000,
        "amount_outstanding": 0,
        "invoice_status": "paid",
        "last_payment_date": "2025-09-10",
    }
    applied = {
        "amount_applied": 1000,
        "amount_unapplied": 2000,
        "allocation_status": "partially_applied",
    }
    left = {"amount_unapplied": 2000}
    requests = (
        ("GET", f"/payments?id=eq.{payment}", None),
        ("GET", f"/invoice_metadata?id=eq.{invoice}", None),
        ("POST", "/invoice_payments", allocation),
        ("PATCH", f"/invoice_metadata?id=eq.{invoice}", paid),
        ("PATCH", f"/payments?id=eq.{payment}", applied),
        ("PATCH", f"/unapplied_payments?payment_id=eq.{payment}", left),
    )
    return [postgrest_clients.request(api, token, *each) for each in requests]


def _see_that_it_was_done(database: Database, paid: int) -> None:
    with psycopg.connect(database.superuser_url) as connection:
        found = connection.execute(_PAID).fetchone()
    if found != (paid,):
        raise RuntimeError(f"{paid} invoices were to be paid, and {found} are")
