"""Target 4: reading.

The two functions stay under 1 ms at the server with 100,000 customers and ten million deliveries;
every customer's outstanding in one query within 2 times the sequential scans that it needs; all
invariants over a million payments within 3 times those scans.

Readings. *Under 1 ms*: the median, the 99th percentile and the slowest of thousands of calls, each
timed inside the server, each for another customer; and the first call of a fresh session, which
compiles and plans. *One query*: the app's function over all customers, the state query of
sql/state, and a plain query over the same counters. *The scans it needs*: the tables that it reads,
each once, rows only counted, or one column of each row read too. *Those scans* of the invariants:
every table once, or each query's own scans, each mention of a table once. All of it with the
workers that Postgres takes by default, and without any.

Times are the server's own (explain analyze without timing), so that no result is carried over.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

from independent import books
from independent.figures import (
    Comparison,
    Effort,
    Figure,
    Measured,
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
    counters = Counter(["customers", "invoice_metadata"])
    rows = Counter(
        [
            *counters,
            "payments",
            "invoice_payments",
            "opening_balance_payments",
            "sales_payments",
        ]
    )
    state_mentions = _mentions(_state_query())
    for workers in (True, False):
        measured = _measured(
            server,
            effort,
            {
                "function": [_BY_FUNCTION],
                "counters": [_BY_COUNTERS],
                "state": [_state_query()],
                "counters counted": _scans(counters, columns=False),
                "counters read": _scans(counters, columns=True),
                "rows counted": _scans(rows, columns=False),
                "rows read": _scans(rows, columns=True),
                "mentions counted": _scans(state_mentions, columns=False),
            },
            workers=workers,
        )
        compared = Comparison(_TARGET, measured, at_most(2))
        for subject, name, references in (
            ("function", "everybody by calculate_customer_outstanding", _OF_COUNTERS),
            ("counters", "everybody by a query over the counters", _OF_COUNTERS),
            ("state", "everybody by sql/state/customer_balances", _OF_ROWS),
        ):
            for scans in references:
                yield compared.figure(name, _said(scans, workers=workers), subject, scans)


_OF_COUNTERS = ("counters counted", "counters read")
_OF_ROWS = ("rows counted", "rows read", "mentions counted")
_SCANS = {
    "counters counted": "customers and invoices, rows counted",
    "counters read": "customers and invoices, the amount of each row summed",
    "rows counted": "all six tables of the rows once, counted",
    "rows read": "all six tables of the rows once, the amount of each row summed",
    "mentions counted": "each table as often as the query names it, counted",
    "tables counted": "every table once, counted",
    "tables read": "every table once, one column read",
    "own counted": "each query's own scans, each mention of a table, counted",
    "own read": "each query's own scans, each mention of a table, one column read",
    "function's own counted": "its parts' own scans, each mention of a table, counted",
    "function's own read": "its parts' own scans, each mention of a table, one column read",
    "once counted": "each query's own scans, each table once a query, counted",
}


def _said(scans: str, *, workers: bool) -> str:
    return f"scans: {_SCANS[scans]}; {'default' if workers else 'no'} workers"


_OF_TABLES = ("tables counted", "tables read")
_OF_FILES = (*_OF_TABLES, "once counted", "own counted", "own read")
_OF_FUNCTION = (*_OF_TABLES, "function's own counted", "function's own read")


def _invariants(server: Server, effort: Effort) -> Iterator[Figure]:
    files = sorted(books.INVARIANTS.glob("*.sql"))
    with server.connect(_DATABASE) as session:
        for file in files:
            if (count := books.broken(session, file)) != 0:
                raise AssertionError(f"{count} rows break {file.stem}: these are no true books")
        if (count := books.broken(session)) != 0:
            raise AssertionError(f"check_payment_invariants names {count} rows")
    queries = [_bare(file.read_text()) for file in files]
    by_files = [_mentions(query) for query in queries]
    with server.connect(_DATABASE) as session:
        in_function = _mentions(_bodies_of_checks(session))
    tables = Counter(set().union(*by_files))
    once = Counter(table for mentions in by_files for table in mentions)
    check = "select * from public.check_payment_invariants()"
    for workers in (True, False):
        measured = _measured(
            server,
            effort,
            {
                "files": queries,
                "function": [check],
                "tables counted": _scans(tables, columns=False),
                "tables read": _scans(tables, columns=True),
                "own counted": _scans(sum(by_files, Counter()), columns=False),
                "own read": _scans(sum(by_files, Counter()), columns=True),
                "once counted": _scans(once, columns=False),
                "function's own counted": _scans(in_function, columns=False),
                "function's own read": _scans(in_function, columns=True),
            },
            workers=workers,
        )
        measured["both"] = [
            one_round + other
            for one_round, other in zip(measured["files"], measured["function"], strict=True)
        ]
        compared = Comparison(_TARGET, measured, at_most(3))
        for subject, name, references in (
            ("files", f"the {len(files)} files of sql/invariants", _OF_FILES),
            ("function", "check_payment_invariants()", _OF_FUNCTION),
            ("both", "files and function together", _OF_TABLES),
        ):
            for scans in references:
                yield compared.figure(name, _said(scans, workers=workers), subject, scans)
    yield from _slowest_files(server, files)


def _slowest_files(server: Server, files: Iterable[Path]) -> Iterator[Figure]:
    """Where the time of the invariants goes, for whoever wants to mend it."""
    with server.connect(_DATABASE) as session:
        taken = {file.stem: _executed(session, _bare(file.read_text())) for file in files}
    slowest = sorted(taken.items(), key=lambda each: -each[1])[:5]
    told = ", ".join(f"{stem} {seconds:.2f} s" for stem, seconds in slowest)
    yield Figure(
        _TARGET, "all files, one after the other", "once more", (sum(taken.values()),), "s", None,
        f"slowest: {told}",
    )  # fmt: skip


def _measured(
    server: Server, effort: Effort, sides: Mapping[str, list[str]], *, workers: bool
) -> Measured:
    """Seconds of each side's queries together, round by round."""

    def side(queries: list[str]) -> float:
        with server.connect(_DATABASE) as session:
            if not workers:
                session.execute("set max_parallel_workers_per_gather = 0")
            return sum(_executed(session, query) for query in queries)

    for queries in sides.values():  # once before, so that nobody has to fetch the others' pages
        side(queries)
    return in_turns(
        {name: partial(side, queries) for name, queries in sides.items()}, effort.rounds
    )


def _executed(session: Connection, query: str) -> float:
    """Seconds that the server needs to plan and execute a query whose result nobody fetches."""
    with session.transaction():
        if query.startswith("/* scan */"):
            for other in ("indexscan", "indexonlyscan", "bitmapscan"):
                session.execute(f"set local enable_{other} = off".encode())
        plan = one(session, f"explain (analyze, timing off, buffers off, format json) {query}")
    if not isinstance(plan, list):
        raise TypeError(f"a plan, not {plan!r}")
    return (float(plan[0]["Execution Time"]) + float(plan[0]["Planning Time"])) / 1000


def _scans(tables: Mapping[str, int], *, columns: bool) -> list[str]:
    """The bare sequential scans of tables, each so many times."""
    found = []
    for table, times in tables.items():
        column = _COLUMN_OF.get(table) if columns else None
        what = "count(*)" if column is None else f"sum({column})"
        found += [f"/* scan */ select {what} from public.{table}"] * times
    return found


def _mentions(text: str) -> Counter[str]:
    """How often a query reads each table: after `from` and `join`, as code, not in quotes."""
    code = re.sub(r"--[^\n]*", "", text)
    return Counter(re.findall(r"\b(?:from|join)\s+public\.([a-z_]+)\b(?!\()", code))


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
