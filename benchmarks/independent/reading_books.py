"""Target 4: reading.

The two functions stay under 1 ms at the server with 100,000 customers and ten million deliveries;
every customer's outstanding in one query within 2 times the sequential scans that it needs; all
invariants over a million payments within 3 times those scans.

Readings. *Under 1 ms*: the median, the 99th percentile and the slowest of thousands of calls, each
timed inside the server, each for another customer; and the first call of a fresh session, which
compiles and plans. *One query*: the app's function over all customers, the state query of
sql/state, and a plain query over the same counters. *The scans it needs*: the tables that it reads,
each once, rows only counted, or one column of each row read too. *Those scans* of the invariants:
every table once, or each query's own scans: each of its tables once, or each mention of a table.
All of it with the workers that Postgres takes by default, and without any (the invariants then in
one round only).

Times are the server's own (explain analyze without timing), so that no result is carried over.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from independent import books
from independent.figures import (
    Comparison,
    Effort,
    Figure,
    Side,
    at_most,
    in_turns,
    seconds_of,
    share_within,
    tell,
)
from independent.server import FOR_READING, ROOT, Connection, Server, one, running

_TARGET = 4
_DATABASE = "books"
_CALL_LIMIT_MS = 1.0

_COLUMN_OF = {
    "customers": "opening_balance_paid",
    "daily_orders": "total_amount",
    "deliveries": "total_amount",
    "invoice_counters": "last_number",
    "invoice_line_items": "line_total",
    "invoice_metadata": "amount_outstanding",
    "invoice_payments": "amount_allocated",
    "opening_balance_payments": "amount",
    "payments": "amount_unapplied",
    "product_pricing_history": "price",
    "products": "current_price",
    "sales": "total_amount",
    "sales_payments": "amount_allocated",
    "unapplied_payments": "amount_unapplied",
}
"""Table → what is read of each row where a scan reads a column."""

_BY_COUNTERS = """
select
  customer.id,
  coalesce(customer.opening_balance, 0) - customer.opening_balance_paid
  + coalesce(invoiced.outstanding, 0) as outstanding
from public.customers as customer
left join (
  select customer_id, sum(amount_outstanding) as outstanding
  from public.invoice_metadata
  where invoice_status in ('sent', 'paid', 'partially_paid', 'overdue') and deleted_at is null
  group by customer_id
) as invoiced on customer.id = invoiced.customer_id
"""

_BY_FUNCTION = """
select customer.id, public.calculate_customer_outstanding(customer.id) as outstanding
from public.customers as customer
"""

_CALLS = {
    "calculate_customer_outstanding": "perform public.calculate_customer_outstanding(v_id)",
    "outstanding_breakdown (today)": "perform public.outstanding_breakdown(v_id)",
    "outstanding_breakdown (a past day)": (
        "perform public.outstanding_breakdown(v_id, date '2025-08-15')"
    ),
}


def measure(effort: Effort) -> Iterator[Figure]:
    """Target 4, figure by figure."""
    size = (
        books.Size(customers=300, months=5, deliveries=3)
        if effort.quick
        else books.Size(customers=100_000, months=10, deliveries=10)
    )
    with running(FOR_READING) as server:
        server.create(_DATABASE)
        took = seconds_of(partial(books.fill, server, _DATABASE, size))
        tell(f"books of {size} in {took:.0f} s")
        with server.connect(_DATABASE) as session:
            _refuse_untrue(session, size)
        yield from _single_calls(server, effort)
        yield from _everybody(server, effort)
        yield from _invariants(server, effort)


def _refuse_untrue(session: Connection, size: books.Size) -> None:
    """The books are as large as they should be, and both ways to ask them agree."""
    found = {
        table: int(str(one(session, f"select count(*) from public.{table}")))
        for table in ("customers", "deliveries", "invoice_metadata", "payments")
    }
    billed = size.customers * size.months
    wanted = {
        "customers": size.customers,
        "deliveries": billed * size.deliveries,
        "invoice_metadata": billed,
        "payments": billed,
    }
    if found != wanted:
        raise AssertionError(f"the books hold {found}, not {wanted}")
    unequal = one(
        session,
        f"select count(*) from ({_BY_COUNTERS}) as one full join ({_state_query()}) as other"
        " on one.id::text = other.key where one.outstanding is distinct from other.outstanding",
    )
    if unequal != 0:
        raise AssertionError(f"{unequal} customers owe another sum by the state query")


def _single_calls(server: Server, effort: Effort) -> Iterator[Figure]:
    calls = effort.pick(5_000, 100)
    taken: dict[str, list[list[float]]] = {name: [] for name in _CALLS}
    first: dict[str, list[float]] = {name: [] for name in _CALLS}
    for turn in range(effort.rounds):
        for name, call in _CALLS.items():
            with server.connect(_DATABASE) as session:
                session.execute(_timer(call))
                session.execute("grant execute on function pg_temp.time_calls to authenticated")
                session.execute("set role authenticated")
                (fresh,) = _time_calls(session, 1, turn)
                first[name].append(fresh)
                # the first hundred belong to the session's warming up
                taken[name].append(_time_calls(session, calls + 100, turn + 1000)[100:])
    for name, rounds in taken.items():
        for reading, of in (
            ("median call", partial(share_within, share=0.5)),
            ("99 of 100 calls", partial(share_within, share=0.99)),
            ("slowest call", max),
        ):
            yield Figure(
                _TARGET, name, reading, tuple(map(of, rounds)), "ms", at_most(_CALL_LIMIT_MS),
                f"{calls} customers a round",
            )  # fmt: skip
        yield Figure(
            _TARGET, name, "first call of a session", tuple(first[name]), "ms", None,
            "compiles and plans the function, reads the catalog",
        )  # fmt: skip


def _timer(call: str) -> bytes:
    """A function of the session that times a call for each customer, in milliseconds."""
    return f"""
    create function pg_temp.time_calls(p_ids uuid[]) returns double precision[]
    language plpgsql as $$
    declare
      v_id uuid;
      v_started timestamptz;
      v_taken double precision[];
    begin
      foreach v_id in array p_ids loop
        v_started := clock_timestamp();
        {call};
        v_taken := v_taken || 1000 * extract(epoch from clock_timestamp() - v_started)::float8;
      end loop;
      return v_taken;
    end;
    $$
    """.encode()


def _time_calls(session: Connection, calls: int, seed: int) -> list[float]:
    """The milliseconds of calls for customers drawn by lot."""
    taken = one(
        session,
        """
        select pg_temp.time_calls(array(
          select id from public.customers order by md5(id::text || %s::text) limit %s
        ))
        """,
        [seed, calls],
    )
    if not isinstance(taken, list):
        raise TypeError(f"times, not {taken!r}")
    return [float(one_call) for one_call in taken]


def _everybody(server: Server, effort: Effort) -> Iterator[Figure]:
    state = _state_query()
    counters = Counter(["customers", "invoice_metadata"])
    for workers in (True, False):
        at = _Bench(server, workers=workers)
        scans = _Scans(at, _mentions(state))
        measured = in_turns(
            {
                "function": partial(at.seconds, [_BY_FUNCTION]),
                "counters": partial(at.seconds, [_BY_COUNTERS]),
                "state": partial(at.seconds, [state]),
                **scans.sides(),
            },
            effort.rounds,
        )
        compared = Comparison(_TARGET, measured, at_most(2))
        for subject, name, readings in (
            ("function", "everybody by calculate_customer_outstanding", {"each once": counters}),
            ("counters", "everybody by a query over the counters", {"each once": counters}),
            (
                "state",
                "everybody by sql/state/customer_balances",
                {"each once": _once(state), "each mention": _mentions(state)},
            ),
        ):
            yield from _compared(compared, scans, (subject, name), readings)


def _invariants(server: Server, effort: Effort) -> Iterator[Figure]:
    files = sorted(books.INVARIANTS.glob("*.sql"))
    queries = [_bare(file.read_text()) for file in files]
    check = "select * from public.check_payment_invariants()"
    with server.connect(_DATABASE) as session:
        in_function = _mentions(_bodies_of_checks(session))
    own = sum(map(_mentions, queries), Counter[str]())
    once_a_query = sum(map(_once, queries), Counter[str]())
    taken: dict[str, float] = {}
    for workers in (True, False):
        at = _Bench(server, workers=workers)
        scans = _Scans(at, own | in_function)

        def all_files(at: _Bench = at) -> float:
            for file, query in zip(files, queries, strict=True):
                taken[file.stem] = at.seconds([query], no_rows=True)
            return sum(taken.values())

        measured = in_turns(
            {
                "files": all_files,
                "function": partial(at.seconds, [check], no_rows=True),
                **scans.sides(),
            },
            effort.rounds if workers else 1,
        )
        measured["both"] = [
            one_round + other
            for one_round, other in zip(measured["files"], measured["function"], strict=True)
        ]
        compared = Comparison(_TARGET, measured, at_most(3))
        tables = Counter(list(own))
        for subject, name, readings in (
            (
                "files",
                f"the {len(files)} files of sql/invariants",
                {
                    "every table once": tables,
                    "for each query, each of its tables once": once_a_query,
                    "for each query, each mention of a table": own,
                },
            ),
            (
                "function",
                "check_payment_invariants()",
                {"every table once": tables, "each mention of a table in its parts": in_function},
            ),
            ("both", "files and function together", {"every table once": tables}),
        ):
            yield from _compared(compared, scans, (subject, name), readings)
        slowest = sorted(taken.items(), key=lambda each: -each[1])[:8]
        yield Figure(
            _TARGET,
            f"the {len(files)} files of sql/invariants",
            f"seconds; {at.workers_said}",
            tuple(measured["files"]),
            "s",
            None,
            "slowest: " + ", ".join(f"{stem} {seconds:.2f}" for stem, seconds in slowest),
        )


def _compared(
    compared: Comparison,
    scans: "_Scans",
    subject: tuple[str, str],
    readings: Mapping[str, Counter[str]],
) -> Iterator[Figure]:
    """A subject (its side and its name) against each reading of the scans that it needs."""
    side, name = subject
    for reading, tables in readings.items():
        for how in scans.rounds:
            reference = f"{reading}, {how}"
            compared.measured[reference] = scans.of(tables, how)
            said = f"scans: {reference}; {scans.at.workers_said}"
            yield compared.figure(name, said, side, reference)


@dataclass(frozen=True)
class _Bench:
    """Executes queries in sessions of their own, and tells the server's own seconds."""

    server: Server
    workers: bool

    @property
    def workers_said(self) -> str:
        return "default workers" if self.workers else "no workers"

    def seconds(
        self, queries: Iterable[str], *, no_rows: bool = False, scan: bool = False
    ) -> float:
        """What the server needs to plan and execute queries whose results nobody fetches.

        Args:
            queries: One after the other, in one session.
            no_rows: They must find none.
            scan: Whether indexes are left aside.
        """
        total = 0.0
        with self.server.connect(_DATABASE) as session:
            if not self.workers:
                session.execute("set max_parallel_workers_per_gather = 0")
            if scan:
                for other in ("indexscan", "indexonlyscan", "bitmapscan"):
                    session.execute(f"set enable_{other} = off".encode())
            for query in queries:
                plan = one(
                    session, f"explain (analyze, timing off, buffers off, format json) {query}"
                )
                if not isinstance(plan, list):
                    raise TypeError(f"a plan, not {plan!r}")
                if no_rows and plan[0]["Plan"]["Actual Rows"] != 0:
                    raise AssertionError(f"these are no true books: rows come of {query}")
                total += float(plan[0]["Execution Time"]) + float(plan[0]["Planning Time"])
        return total / 1000


class _Scans:
    """The bare sequential scan of each table, each kind a side of its own.

    Attributes:
        rounds: Kind → for each round, table → seconds of one scan.
    """

    def __init__(self, at: _Bench, tables: Iterable[str]) -> None:
        self.at = at
        self._tables = sorted(tables)
        self.rounds: dict[str, list[dict[str, float]]] = {"rows counted": [], "a column summed": []}
        for kind in self.rounds:  # once before: nobody is to fetch the pages for the others
            self._scan(kind)
            self.rounds[kind].clear()

    def sides(self) -> dict[str, Side]:
        """For `in_turns`."""
        return {kind: partial(self._scan, kind) for kind in self.rounds}

    def of(self, tables: Mapping[str, int], kind: str) -> list[float]:
        """Seconds of scanning each table so many times, round by round."""
        return [
            sum(times * seconds[table] for table, times in tables.items())
            for seconds in self.rounds[kind]
        ]

    def _scan(self, kind: str) -> float:
        taken = {}
        for table in self._tables:
            column = _COLUMN_OF.get(table) if kind == "a column summed" else None
            what = "count(*)" if column is None else f"sum({column})"
            taken[table] = self.at.seconds([f"select {what} from public.{table}"], scan=True)
        self.rounds[kind].append(taken)
        return sum(taken.values())


def _mentions(text: str) -> Counter[str]:
    """How often a query reads each table: after `from` and `join`, as code, not in quotes."""
    code = re.sub(r"--[^\n]*", "", text)
    return Counter(re.findall(r"\b(?:from|join)\s+public\.([a-z_]+)\b(?!\()", code))


def _once(text: str) -> Counter[str]:
    return Counter(list(_mentions(text)))


def _bodies_of_checks(session: Connection) -> str:
    """What check_payment_invariants executes, its parts included."""
    bodies = one(
        session,
        """
        select string_agg(prosrc, ' ') from pg_catalog.pg_proc
        where pronamespace = 'private'::regnamespace
          and (proname like 'check\\_%' or proname = 'unapplied_faults')
          and prorettype <> 'trigger'::regtype and proretset
        """,
    )
    return str(bodies)


def _state_query() -> str:
    return _bare((ROOT / "sql" / "state" / "customer_balances.sql").read_text())


def _bare(query: str) -> str:
    return query.rstrip().rstrip(";")
