"""Target 1: payments of separate customers, eight clients at once.

Throughput of allocate_payment_atomic, and of record_payment_atomic, over psycopg: at least 0.7 of
the bare writes (one prepared statement that writes the same rows without any check or trigger), at
least 1.5 times the app's statements (each its own round trip) on loopback and 4 times at 1 ms round
trip; through the real PostgREST at least 3 times the app's calls.

Readings. *The same rows*: all that the function writes, the journal (and the audit trail) too, or
those alone that the app knows. *The app's statements*: in the database as deployed, where its
triggers do for them what the function relies on, or in the database as it was before any gap. On
loopback (TCP), with commits that wait for the disk, and with commits that don't. *1 ms round trip*:
each client sleeps 1 ms before each trip; eight of them may fill two processors all the same, so one
alone is measured as well.

A payment pays one invoice. The app's amounts are known to it: reading them before is not counted.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from independent import payments
from independent.clients import CLIENTS, HttpSession, Session, SqlSession, run
from independent.figures import Comparison, Effort, Figure, Limit, at_least, in_turns, tell
from independent.payments import Layout, Task
from independent.server import ON_LOOPBACK, Server, running
from support.postgrest import PostgREST, serving
from support.tools import left_out, tool

_TARGET = 1
_DEPLOYED = "deployed"
_BASELINE = "baseline"
_BARE = "bare"
_APIS = (_DEPLOYED, _BASELINE)

_NO_WAITING = "set synchronous_commit = off"


@dataclass(frozen=True)
class _Way:
    """How a payment is written.

    Attributes:
        database: Where.
        before: What a session begins with.
        perform: Does it.
        kept: Whether journal and trail are written.
    """

    database: str
    before: tuple[str, ...]
    perform: Callable[[Session, Task], None]
    kept: bool = False


@dataclass(frozen=True)
class _Subject:
    """A function, and what it is compared with."""

    name: str
    recorded: bool
    over_sql: dict[str, _Way]
    over_http: dict[str, _Way]


_APP = payments.AS_APP
_SUBJECTS = (
    _Subject(
        "allocate_payment_atomic",
        recorded=True,
        over_sql={
            "function": _Way(_DEPLOYED, _APP, payments.allocate, kept=True),
            "bare, all rows": _Way(
                _BARE, (), partial(payments.write, payments.ALLOCATE), kept=True
            ),
            "bare, without the journal": _Way(
                _BARE, (), partial(payments.write, payments.ALLOCATE_WITHOUT_JOURNAL)
            ),
            "app, as deployed": _Way(_DEPLOYED, _APP, payments.app_allocate, kept=True),
            "app, before any gap": _Way(_BASELINE, _APP, payments.app_allocate),
        },
        over_http={
            "function": _Way(_DEPLOYED, (), payments.rpc_allocate, kept=True),
            "app, as deployed": _Way(_DEPLOYED, (), payments.rest_allocate, kept=True),
            "app, before any gap": _Way(_BASELINE, (), payments.rest_allocate),
        },
    ),
    _Subject(
        "record_payment_atomic",
        recorded=False,
        over_sql={
            "function": _Way(_DEPLOYED, _APP, payments.record, kept=True),
            "bare, all rows": _Way(_BARE, (), partial(payments.write, payments.RECORD), kept=True),
            "bare, without journal and trail": _Way(
                _BARE, (), partial(payments.write, payments.RECORD_WITHOUT_JOURNAL)
            ),
            "app, as deployed": _Way(_DEPLOYED, _APP, payments.app_record, kept=True),
            "app, before any gap": _Way(_BASELINE, _APP, payments.app_record),
        },
        over_http={
            "function": _Way(_DEPLOYED, (), payments.rpc_record, kept=True),
            "app, as deployed": _Way(_DEPLOYED, (), payments.rest_record, kept=True),
            "app, before any gap": _Way(_BASELINE, (), payments.rest_record),
        },
    ),
)


def measure(effort: Effort) -> Iterator[Figure]:
    """Target 1, figure by figure."""
    with running(ON_LOOPBACK) as server:
        server.create(_DEPLOYED)
        server.create(_BASELINE, upto="_baseline")
        server.clone(_BARE, _DEPLOYED)
        server.strip(_BARE)
        for subject in _SUBJECTS:
            yield from _over_sql(server, subject, effort)
        if tool("postgrest") is None:
            tell(left_out("postgrest"))
            return
        for subject in _SUBJECTS:
            yield from _over_http(server, subject, effort)


def _over_sql(server: Server, subject: _Subject, effort: Effort) -> Iterator[Figure]:
    for words, extra, round_trip, clients, app_limit in (
        ("commits wait for the disk", (), 0.0, CLIENTS, 1.5),
        ("commits don't wait", (_NO_WAITING,), 0.0, CLIENTS, 1.5),
        ("1 ms round trip", (), 0.001, CLIENTS, 4.0),
        ("1 ms round trip, one client", (), 0.001, 1, 4.0),
    ):
        layout = Layout(effort.pick(400, 8), recorded=subject.recorded, clients=clients)
        ways = {
            name: way
            for name, way in subject.over_sql.items()
            if not (round_trip and name.startswith("bare"))
        }

        def rate(
            way: _Way,
            extra: tuple[str, ...] = extra,
            round_trip: float = round_trip,
            layout: Layout = layout,
        ) -> float:
            url = server.loopback(way.database)
            opening = partial(SqlSession, url, (*way.before, *extra), round_trip)
            return _rate(server, way, opening, layout)

        measured = in_turns({name: partial(rate, way) for name, way in ways.items()}, effort.rounds)
        yield from _compared(subject, measured, at_least(app_limit), words)


def _over_http(server: Server, subject: _Subject, effort: Effort) -> Iterator[Figure]:
    layout = Layout(effort.pick(200, 8), recorded=subject.recorded)
    with ExitStack() as stack:
        apis = {
            database: stack.enter_context(serving(server.url(database, "authenticator")))
            for database in _APIS
        }

        def rate(way: _Way) -> float:
            opening = partial(_http, apis[way.database])
            return _rate(server, way, opening, layout)

        measured = in_turns(
            {name: partial(rate, way) for name, way in subject.over_http.items()}, effort.rounds
        )
    yield from _compared(subject, measured, at_least(3), "through PostgREST")


def _http(api: PostgREST) -> HttpSession:
    return HttpSession(api.port, api.token("authenticated"))


def _compared(
    subject: _Subject, measured: dict[str, list[float]], of_app: Limit, words: str
) -> Iterator[Figure]:
    for reference in measured:
        if reference == "function":
            continue
        limit = at_least(0.7) if reference.startswith("bare") else of_app
        compared = Comparison(_TARGET, measured, limit, "payments/s")
        yield compared.figure(subject.name, f"against {reference}; {words}", "function", reference)


def _rate(server: Server, way: _Way, opening: Callable[[], Session], layout: Layout) -> float:
    """Payments a second; refused unless each is there in the end as it should."""
    work = payments.lay_out(server, way.database, layout)
    ran = run(opening, way.perform, work)
    if ran.failed:
        raise AssertionError(f"calls failed: {ran.failed}")
    payments.refuse_untrue(server, way.database, work, kept=way.kept)
    return ran.rate
