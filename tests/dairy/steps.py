"""What a step of a history is: a statement for the database, and what the model makes of it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

import psycopg
from hypothesis import strategies as st
from psycopg.rows import dict_row

from dairy.model import Dairy, Kept, Snapshot, plain
from support.databases import Connection

Row = Mapping[str, Any]
Statement = tuple[str, tuple[object, ...]]
Faults = set[str]
"""What speaks against a call: `PT409 reason` of an RPC, the SQLSTATE alone of a direct write."""

LOOK = """
select jsonb_build_object(
  'payments', (
    select jsonb_object_agg(p.id, jsonb_build_array(
      p.customer_id, trim_scale(p.amount)::text, trim_scale(p.amount_applied)::text,
      trim_scale(p.amount_unapplied)::text, p.allocation_status, p.voided_at is not null
    )) from public.payments as p
  ),
  'invoices', (
    select jsonb_object_agg(i.id, jsonb_build_array(
      i.customer_id, trim_scale(i.total_amount)::text, trim_scale(i.amount_paid)::text,
      trim_scale(i.amount_outstanding)::text, replace(i.invoice_status, 'overdue', 'sent'),
      i.last_payment_date, case
        when i.deleted_at is null then null
        when i.status_before_deletion in ('draft', 'cancelled') then i.status_before_deletion
        else 'sent'
      end
    )) from public.invoice_metadata as i
  ),
  'allocations', (
    select jsonb_object_agg(a.payment_id || ' ' || a.target, trim_scale(a.amount)::text)
    from (
      select payment_id, invoice_id as target, amount_allocated as amount
      from public.invoice_payments
      union all select payment_id, customer_id, amount from public.opening_balance_payments
      union all select payment_id, sales_id, amount_allocated from public.sales_payments
    ) as a
  ),
  'unapplied', (
    select jsonb_object_agg(u.payment_id, u.held)
    from (
      select payment_id, jsonb_agg(
        jsonb_build_array(customer_id, trim_scale(amount_unapplied)::text)
      ) as held
      from public.unapplied_payments group by payment_id
    ) as u
  ),
  'sales', (select jsonb_object_agg(s.id, s.payment_status) from public.sales as s),
  'opening', (
    select jsonb_object_agg(c.id, jsonb_build_array(
      trim_scale(c.opening_balance)::text, trim_scale(c.opening_balance_paid)::text
    )) from public.customers as c
  )
)
"""
"""The books as they stand, in the shape of Dairy.snapshot()."""


@dataclass(frozen=True)
class Outcome:
    """What the database answered: a row, or why not."""

    row: Row
    fault: str | None = None
    rule: str | None = None

    def __str__(self) -> str:
        return (self.fault and f"{self.fault} ({self.rule})") or f"ok {dict(self.row)}"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One call or one statement; a subclass is one kind of it.

    Attributes:
        needs: The function without which the step makes no sense.
        role: Who takes it.
        weight: How often it is drawn, compared with others.
        alone: Several statements, so never one of a batch that is held against serial orders.
    """

    needs: ClassVar[str] = "allocate_payment_atomic"
    role: ClassVar[str] = "authenticated"
    weight: ClassVar[int] = 4
    alone: ClassVar[bool] = False

    def statement(self, dairy: Dairy) -> Statement:
        """The SQL and its values."""
        raise NotImplementedError

    def faults(self, dairy: Dairy) -> Faults:  # noqa: ARG002 - nothing speaks against most
        """All that speaks against it; the database names one of them."""
        return set()

    def happen(self, dairy: Dairy) -> Row:  # noqa: ARG002 - not every step moves something
        """Do it to the model; what the answer has to say."""
        return {}

    def conclude(self, dairy: Dairy, row: Row) -> Row:  # noqa: ARG002 - for what an RPC makes
        """Do it to the model, with an answer that says what was made."""
        return self.happen(dairy)

    def take(self, connection: Connection, dairy: Dairy) -> Outcome:
        """Do it to the database."""
        text, values = self.statement(dairy)
        try:
            with connection.cursor(row_factory=dict_row) as cursor:
                cursor.execute(text.encode(), values)
                rows = cursor.fetchall() if cursor.description else []
        except psycopg.DatabaseError as error:
            diagnostic = error.diag
            state = diagnostic.sqlstate or "lost"
            reason = diagnostic.message_primary or ""
            if state.startswith("PT"):
                return Outcome({}, f"{state} {reason}", diagnostic.message_detail)
            return Outcome({}, state, diagnostic.constraint_name or reason)
        return Outcome(rows[0] if rows else {})

    def disagreement(self, dairy: Dairy, outcome: Outcome) -> str | None:
        """Hold the outcome against the model, and the model goes on with it."""
        faults = self.faults(dairy)
        if outcome.fault is not None:
            return None if outcome.fault in faults else f"expected {faults or 'ok'}, got {outcome}"
        if faults:
            return f"expected {faults}, got {outcome}"
        return differing(self.conclude(dairy, outcome.row), outcome.row)


@dataclass(frozen=True, kw_only=True)
class Rpc(Step):
    """A call of a function, perhaps with an idempotency key.

    Attributes:
        function: Its name.
        keyed: Whether it takes a key.
        allocates: Whether what it does can be undone by its key.
    """

    function: ClassVar[str]
    keyed: ClassVar[bool] = True
    allocates: ClassVar[bool] = False

    key: int | None = None

    def arguments(self, dairy: Dairy) -> dict[str, object]:
        """The arguments by name, as psycopg sends them."""
        raise NotImplementedError

    def canonical(self, dairy: Dairy) -> object:
        """The arguments so that two spellings of a request are equal."""
        return repr(self.arguments(dairy))

    def malformed(self) -> Faults:
        """What is wrong with the arguments alone, before anything is looked up."""
        return set()

    def statement(self, dairy: Dairy) -> Statement:
        arguments = self.arguments(dairy)
        named = ", ".join(f"{name} => %s" for name in arguments)
        return say(f"select * from public.{self.function}({named})", *arguments.values())

    def take(self, connection: Connection, dairy: Dairy) -> Outcome:
        if self.key is None:
            return super().take(connection, dairy)
        say = "select set_config('pymilk.idempotency_key', %s, false)"
        connection.execute(say, [f"key {self.key}"])
        try:
            return super().take(connection, dairy)
        finally:
            connection.execute(say, [""])

    def place(self, function: str | None = None) -> tuple[str, str, str]:
        """Where its key is kept (or would be, were it another function's)."""
        return self.role, function or self.function, f"key {self.key}"

    def kept_at(self, dairy: Dairy) -> tuple[str, str, str]:  # noqa: ARG002 - a rollback's is more
        """Where its answer is kept."""
        return self.place()

    def spent(self, dairy: Dairy) -> Faults:
        """Whether its key says that the call was undone, or was another call's."""
        kept = dairy.kept.get(self.place())
        if kept is None:
            buried = self.allocates and self.place(ROLLBACK) in dairy.kept
            return {"PT409 request_undone"} if buried else set()
        if kept.undone:
            return {"PT409 request_undone"}
        reused = kept.arguments != self.canonical(dairy)
        return {"PT409 idempotency_key_reused"} if reused else set()

    def about(self, dairy: Dairy, row: Row) -> UUID | None:  # noqa: ARG002 - some make theirs
        """The payment that it allocates."""
        return dairy.name("payment", getattr(self, "payment", None))

    def disagreement(self, dairy: Dairy, outcome: Outcome) -> str | None:
        faults = self.malformed()
        if not faults and self.key is not None:
            faults = self.spent(dairy)
            kept = dairy.kept.get(self.kept_at(dairy))
            if not faults and kept is not None and kept.arguments == self.canonical(dairy):
                return differing(kept.answer, outcome.row) or outcome.fault
        faults = faults or self.faults(dairy)
        if outcome.fault is not None:
            return None if outcome.fault in faults else f"expected {faults or 'ok'}, got {outcome}"
        if faults:
            return f"expected {faults}, got {outcome}"
        dairy.calls += 1
        dairy.acting = f"call {dairy.calls}"
        wrong = differing(self.conclude(dairy, outcome.row), outcome.row)
        if self.key is not None:
            about = self.about(dairy, outcome.row)
            kept = Kept(self.canonical(dairy), outcome.row, dairy.acting, about)
            dairy.kept.setdefault(self.kept_at(dairy), kept)
        dairy.acting = None
        return wrong


ROLLBACK = "rollback_partial_allocation"


def differing(expected: Row, found: Row) -> str | None:
    """What the answer says otherwise; fields that the model says nothing of may say anything."""
    wrong = {
        name: (value, found.get(name, "nothing"))
        for name, value in expected.items()
        if _same(value) != _same(found.get(name))
    }
    return f"answer (expected, found): {wrong}" if wrong else None


def _same(value: object) -> object:
    match value:
        case bool() | None:
            return value
        case Decimal() | int() | float():
            return plain(Decimal(str(value)))
        case list():
            return [_same(each) for each in value]
        case dict():
            return {name: _same(each) for name, each in value.items()}
        case _:
            return str(value)


def look(connection: Connection, dairy: Dairy) -> Snapshot:
    """What the database says, of the parts that the model has."""
    row = connection.execute(LOOK).fetchone()
    assert row is not None
    return {part: row[0][part] or {} for part in dairy.snapshot()}


def compare(dairy: Dairy, found: Snapshot) -> list[str]:
    """Where the database and the model say different things."""
    return [
        f"{part} {entity}: expected {wanted[part].get(entity)}, found {found[part].get(entity)}"
        for wanted in [dairy.snapshot()]
        for part in wanted
        for entity in sorted(wanted[part].keys() | found[part].keys())
        if wanted[part].get(entity) != found[part].get(entity)
    ]


KINDS: dict[type[Step], st.SearchStrategy[Step]] = {}
"""Every kind of step and how it is drawn; a new function is added by a class with @kind."""


def kind(**fields: st.SearchStrategy[Any]) -> Callable[[type[Step]], type[Step]]:
    """Register a kind of step with the strategies of its fields."""

    def register(step: type[Step]) -> type[Step]:
        if issubclass(step, Rpc) and step.keyed:
            fields.setdefault("key", mostly(st.none(), st.integers(0, 2), 4))
        KINDS[step] = st.builds(step, **fields)
        return step

    return register


def any_of(kinds: Iterable[type[Step]]) -> st.SearchStrategy[Step]:
    """One step of these kinds, each as often as its weight says."""
    weighted = [each for each in kinds for _ in range(each.weight)]
    return st.sampled_from(weighted).flatmap(KINDS.__getitem__)


def say(text: str, *values: object) -> Statement:
    """A statement and its values."""
    return text, values


def one_of(faults: Iterable[tuple[bool, str]]) -> Faults:
    """The faults whose condition holds."""
    return {fault for holds, fault in faults if holds}


numbers = st.sampled_from([0, 1, 0, 1, 0, 1, 2, 0, 1, 2, 3, 4, 10, 11])
"""Which thing: mostly one of those that are there from the start (0 and 1 are one customer's)."""

amounts = st.sampled_from([50, 100, "250.00", 0.01, 120, "79.99", 300, 1, 499.5, 500, 800, 1000])
hostile = st.sampled_from(
    [0, -1, "0.001", "NaN", "Infinity", "-Infinity", "10000000000", "1e30", "", " 5", None, True]
)
"""Amounts that nobody may send."""


def mostly(
    usual: st.SearchStrategy[Any], odd: st.SearchStrategy[Any], once_in: int = 8
) -> st.SearchStrategy[Any]:
    """The usual, and now and then something odd."""
    # not at an end of the list: ends are drawn more often
    half = once_in // 2
    return st.sampled_from([usual] * half + [odd] + [usual] * (once_in - half - 1)).flatmap(
        lambda drawn: drawn
    )


either = mostly(amounts, hostile)
