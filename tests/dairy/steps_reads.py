"""What only looks: what is owed, what became of a call; and the counter of invoice numbers."""

from dataclasses import dataclass
from typing import ClassVar

from hypothesis import strategies as st

from dairy.model import NOTHING, Dairy, Kept
from dairy.steps import (
    ROLLBACK,
    Faults,
    Outcome,
    Row,
    Statement,
    Step,
    kind,
    mostly,
    numbers,
    one_of,
    say,
)
from dairy.steps_app import customers


@dataclass(frozen=True, kw_only=True)
class OfCustomer(Step):
    """A question about one customer, who may be nobody."""

    needs: ClassVar[str] = "outstanding_breakdown"
    weight: ClassVar[int] = 2

    customer: int

    def faults(self, dairy: Dairy) -> Faults:
        known = dairy.name("customer", self.customer) in dairy.customers
        return one_of([(not known, "PT404 customer_not_found")])


@kind(customer=mostly(customers, numbers))
@dataclass(frozen=True, kw_only=True)
class Owed(OfCustomer):
    """calculate_customer_outstanding, as the app asks it all day."""

    def statement(self, dairy: Dairy) -> Statement:
        return say(
            "select public.calculate_customer_outstanding(customer_uuid => %s) as owed",
            dairy.name("customer", self.customer),
        )

    def happen(self, dairy: Dairy) -> Row:
        customer = dairy.name("customer", self.customer)
        assert customer is not None
        return {"owed": dairy.owed(customer)}


@kind(customer=mostly(customers, numbers))
@dataclass(frozen=True, kw_only=True)
class Breakdown(OfCustomer):
    """outstanding_breakdown: the same from the rows, and what is unapplied."""

    def statement(self, dairy: Dairy) -> Statement:
        return say(
            "select * from public.outstanding_breakdown(p_customer_id => %s, p_as_of => null)",
            dairy.name("customer", self.customer),
        )

    def happen(self, dairy: Dairy) -> Row:
        customer = dairy.name("customer", self.customer)
        assert customer is not None
        credit = sum(
            (dairy.left(key) for key, p in dairy.payments.items() if p.customer == customer),
            NOTHING,
        )
        owed = dairy.owed(customer)
        return {"outstanding": owed, "credit": credit, "net": owed - credit}


@kind(customer=mostly(customers, numbers))
@dataclass(frozen=True, kw_only=True)
class Validated(OfCustomer):
    """validate_outstanding: the two agree at every moment."""

    def statement(self, dairy: Dairy) -> Statement:
        return say(
            "select * from public.validate_outstanding(p_customer_id => %s)",
            dairy.name("customer", self.customer),
        )

    def happen(self, dairy: Dairy) -> Row:  # noqa: ARG002 - the same for everybody
        return {"valid": True}


@kind(key=st.integers(0, 3))
@dataclass(frozen=True, kw_only=True)
class Became(Step):
    """request_outcome, by the one who made the call; one key may have been several functions'."""

    needs: ClassVar[str] = "request_outcome"

    key: int

    def statement(self, dairy: Dairy) -> Statement:  # noqa: ARG002 - it names a key alone
        return say("select * from public.request_outcome(p_key => %s)", f"key {self.key}")

    def disagreement(self, dairy: Dairy, outcome: Outcome) -> str | None:
        kept = {
            function: found
            for (role, function, key), found in dairy.kept.items()
            if (role, key) == (self.role, f"key {self.key}")
        }
        calls = {name: found for name, found in kept.items() if not name.startswith(ROLLBACK)}
        expected = {
            f"{function} {state(function, found)}" for function, found in (calls or kept).items()
        }
        said = f"{outcome.row.get('function_name')} {outcome.row.get('outcome')}"
        if said in (expected or {"None unknown"}):
            return None
        return f"expected one of {expected or 'unknown'}, got {outcome}"


def state(function: str, kept: Kept) -> str:
    """What is said of a call that was made under a key; a rollback is what undid it."""
    return "undone" if kept.undone or function == ROLLBACK else "done"


@kind(year=mostly(st.sampled_from(["202526", "202627"]), st.sampled_from([None, "2025", "202527"])))
@dataclass(frozen=True, kw_only=True)
class TakeNumber(Step):
    """next_invoice_number: nobody else ever gets it."""

    needs: ClassVar[str] = "next_invoice_number"
    weight: ClassVar[int] = 2

    year: str | None

    def statement(self, dairy: Dairy) -> Statement:  # noqa: ARG002 - it names a year alone
        return say("select public.next_invoice_number(p_financial_year => %s) as taken", self.year)

    def faults(self, dairy: Dairy) -> Faults:  # noqa: ARG002 - about the argument alone
        return one_of([(self.year not in {"202526", "202627"}, "PT400 financial_year_invalid")])

    def conclude(self, dairy: Dairy, row: Row) -> Row:
        number = str(row["taken"])
        if number in dairy.numbers() or not number.startswith(str(self.year)):
            return {"taken": "a number of its year that nobody has"}
        dairy.taken.add(number)
        return {}
