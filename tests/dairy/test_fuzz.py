"""Every argument of every public function gets what nobody should send.

The functions are found in the catalog, so a new one can't be forgotten. Whatever comes: the result
is right (no invariant is broken) or a PT4xx refusal; never a raw cast error, never a 5xx class, and
nothing is written behind a refusal. A value that the argument's own type can't take never reaches
the function: that is the client's error, and left out here.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg.rows import dict_row

from dairy.books import Books
from dairy.hostile import values
from support.databases import Connection, Database

GOOD = {
    "p_amount": "100",
    "p_reason": "a reason",
    "p_method": "gpay",
    "p_strategy": "oldest_first",
    "p_period_start": "2025-08-01",
    "p_period_end": "2025-08-31",
    "p_as_of": "2025-09-30",
    "p_financial_year": "202526",
    "year_code": "202526",
    "p_key": "a key",
    "p_status": "completed",
    "p_operation": "generate",
}
"""What a caller would send, by the argument's name; ids are those of the dairy's own things."""


@dataclass(frozen=True)
class Function:
    """A public function as the catalog has it: its arguments' names and types, and who calls it."""

    name: str
    arguments: Mapping[str, str]
    role: str


@dataclass
class Target:
    """A dairy to send things to, and what is in it."""

    books: Books
    sessions: Mapping[str, Connection]
    functions: list[Function]
    good: dict[str, str]
    tables: list[str]
    hostile: dict[str, list[object]] = field(default_factory=dict)
    typed: dict[tuple[str, object], bool] = field(default_factory=dict)

    def usual(self, name: str, kind: str) -> object:
        """What a caller would send here."""
        if name in GOOD:
            return GOOD[name]
        thing = next((each for each in self.good if each in name), "customer")
        allocations = f'[{{"invoiceId": "{self.good["invoice"]}", "amount": 1}}]'
        return {
            "uuid": self.good[thing],
            "uuid[]": f"{{{self.good[thing]}}}",
            "jsonb": f'{{"amount": 5, "customer_id": "{self.good["customer"]}"}}'
            if name == "p_payment"
            else allocations,
            "boolean": "true",
            "text": "text",
            "date": "2025-08-31",
            "numeric": "1",
            "integer": "1",
        }[kind]

    def odd(self, kind: str) -> list[object]:
        """What nobody should send here."""
        if kind not in self.hostile:
            self.hostile[kind] = values(kind, self.good)
        return self.hostile[kind]

    def takes(self, kind: str, value: object) -> bool:
        """Whether the type itself takes the value: only then a function is called at all."""
        known = self.typed.get((kind, value))
        if known is None:
            try:
                self.books.value(f"select %s::{kind}", value)
            except (psycopg.DataError, psycopg.errors.StatementTooComplex):
                known = False
            else:
                known = True
            self.typed[kind, value] = known
        return known

    def fingerprint(self) -> object:
        """All rows of all tables that a function may write, in one figure each."""
        return self.books.rows(
            " union all ".join(
                f"select '{name}', count(*), sum(hashtextextended(r::text, 0)) from {name} as r"
                for name in self.tables
            )
        )

    def fault(self, function: Function, given_values: Mapping[str, object]) -> str | None:
        """Call it so, and undo it; what went wrong, if anything."""
        session = self.sessions[function.role]
        arguments = sql.SQL(", ").join(
            sql.SQL("{} => {}::{}").format(
                sql.Identifier(name),
                sql.Placeholder(),
                sql.SQL(function.arguments[name]),
            )
            for name in given_values
        )
        call = sql.SQL("select * from public.{}({})").format(
            sql.Identifier(function.name), arguments
        )
        told = {name: str(value)[:80] for name, value in given_values.items()}
        try:
            session.execute("begin")
            with session.cursor(row_factory=dict_row) as cursor:
                rows = cursor.execute(call, list(given_values.values())).fetchall()
            session.execute("reset role")
            broken = session.execute("select * from public.check_payment_invariants()").fetchall()
        except psycopg.DatabaseError as error:
            state = error.diag.sqlstate or "lost"
            refused = (
                state.startswith("PT4")
                and error.diag.message_hint
                and (error.diag.message_detail or "").startswith("{")
            )
            return None if refused else f"{function.name} {told}: {state} {error}"
        finally:
            session.execute("rollback")
        if any(row.get("success") is False for row in rows):
            return f"{function.name} {told}: a refusal is raised, never returned"
        return f"{function.name} {told}: {broken}" if broken else None

    def usual_values(self, function: Function) -> dict[str, object]:
        """A call as a caller would make it."""
        return {name: self.usual(name, kind) for name, kind in function.arguments.items()}


FIND = """
select
  f.proname,
  (
    select jsonb_object_agg(a.name, format_type(a.kind, null))
    from unnest(f.proargnames[1:f.pronargs], string_to_array(f.proargtypes::text, ' ')::oid[])
      as a (name, kind)
  ),
  has_function_privilege('authenticated', f.oid, 'execute')
from pg_proc as f
where f.pronamespace = 'public'::regnamespace and f.prokind = 'f'
  and f.prorettype <> 'trigger'::regtype
order by 1
"""


@pytest.fixture
def target(dairy_hardened: Database) -> Target:
    books = Books(dairy_hardened.connect(autocommit=True))
    customer = books.customer(opening_balance=500)
    payment, invoice = books.payment(customer, 800), books.invoice(customer, 1000)
    books.allocate(payment, {invoice: 100})
    sale = books.value(
        "insert into public.sales (customer_id, product_id, quantity, unit_price, total_amount,"
        " sale_type, payment_status) select %s, id, 1, 50, 50, 'Credit', 'Pending'"
        " from public.products limit 1 returning id",
        customer,
    )
    tables = books.rows(
        "select oid::regclass::text from pg_class where relkind = 'r' and relnamespace in"
        " ('public'::regnamespace, 'private'::regnamespace)"
        " and relname not in ('deliveries', 'daily_orders') order by 1"
    )
    return Target(
        books=books,
        sessions={
            role: dairy_hardened.connect(role=role, autocommit=True)
            for role in ("authenticated", "service_role")
        },
        functions=[
            Function(name, arguments or {}, "authenticated" if staff else "service_role")
            for name, arguments, staff in books.rows(FIND)
        ],
        good={
            "customer": str(customer),
            "payment": str(payment),
            "invoice": str(invoice),
            "sale": str(sale),
        },
        tables=[name for (name,) in tables],
    )


def test_there_is_something_to_try(target: Target) -> None:
    names = {function.name for function in target.functions}
    assert {"allocate_payment_atomic", "record_payment_atomic", "generate_invoice_atomic"} <= names
    usual = [target.fault(function, target.usual_values(function)) for function in target.functions]
    assert [fault for fault in usual if fault] == []


@pytest.mark.parametrize("every", [9, pytest.param(1, marks=pytest.mark.long)])
def test_one_hostile_argument_at_a_time(target: Target, every: int) -> None:
    before, faults, turn = target.fingerprint(), [], 0
    for function in target.functions:
        usual = target.usual_values(function)
        for name, kind in function.arguments.items():
            for value in target.odd(kind):
                turn += 1
                if turn % every == 0 and target.takes(kind, value):
                    faults += [target.fault(function, {**usual, name: value})]
        assert target.fingerprint() == before, f"{function.name} left something behind"
    assert [fault for fault in faults if fault] == []
    assert len(faults) > 1000 / every


unhurried = settings(
    deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("calls", [60, pytest.param(3000, marks=pytest.mark.long)])
def test_all_arguments_at_once(target: Target, calls: int) -> None:
    @settings(unhurried, max_examples=calls)
    @given(st.data())
    def call(data: st.DataObject) -> None:
        function = data.draw(st.sampled_from(target.functions), "function")
        chosen = {
            name: data.draw(st.sampled_from([target.usual(name, kind), *target.odd(kind)]), name)
            for name, kind in function.arguments.items()
        }
        if all(target.takes(function.arguments[name], value) for name, value in chosen.items()):
            assert target.fault(function, chosen) is None

    call()


keys = st.sampled_from(
    ["invoiceId", "invoice_id", "saleId", "sale_id", "amount", "customer_id", "allocations"]
)


def documents(good: Mapping[str, str]) -> st.SearchStrategy[object]:
    """JSON of any shape, with the names and ids that the functions look for in it."""
    leaves = (
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=20)
        | st.sampled_from(sorted(good.values()))
        | st.decimals(min_value=0, max_value=2000, places=2).map(str)
    )
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys | st.text(), inner),
        max_leaves=12,
    )


@pytest.mark.parametrize("calls", [60, pytest.param(3000, marks=pytest.mark.long)])
def test_any_json(target: Target, calls: int) -> None:
    places = [
        (function, name)
        for function in target.functions
        for name, kind in function.arguments.items()
        if kind == "jsonb"
    ]

    @settings(unhurried, max_examples=calls)
    @given(place=st.sampled_from(places), document=documents(target.good))
    def call(place: tuple[Function, str], document: object) -> None:
        function, name = place
        text = json.dumps(document)
        if target.takes("jsonb", text):
            usual = target.usual_values(function)
            assert target.fault(function, {**usual, name: text}) is None

    call()
