"""The RPCs that make invoices, delete them and bring them back; and the app's own lines."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import ClassVar
from uuid import UUID, uuid5

from hypothesis import strategies as st

from dairy.model import NOTHING, Dairy, Invoice
from dairy.steps import Faults, Row, Rpc, Statement, Step, kind, mostly, numbers, one_of, say
from dairy.steps_app import MONTHS, OLD, customers, overlapping
from dairy.steps_invoices import unbillable

TODAY = date(2026, 1, 1)
"""Any day after the app's invoices: generated ones are dated today."""

months = mostly(st.sampled_from(MONTHS), st.sampled_from([OLD[0], MONTHS[0][::-1], (None, None)]))

Month = tuple[date | None, date | None]


def malformed_month(month: Month) -> Faults:
    """What is wrong with a period alone."""
    start, end = month
    if start is None or end is None:
        return {"PT400 period_required"}
    return one_of([(end < start, "PT400 period_invalid")])


def billable(dairy: Dairy, customer: UUID, month: Month) -> list[UUID]:
    """What an invoice for these days would bill: what is of the days, and what came late."""
    start, end = month
    assert start is not None
    assert end is not None
    live = {key: i for key, i in dairy.invoices.items() if i.customer == customer and i.live}
    days = {
        **{key: each.delivered_on for key, each in dairy.deliveries.items()},
        **{key: each.sold_on for key, each in dairy.sales.items()},
    }
    return [
        thing
        for thing, day in days.items()
        if dairy.price(thing)[0] == customer
        and dairy.bill(thing) is None
        and (thing not in dairy.sales or _waits(dairy, thing))
        and day <= end
        and (
            day >= start
            or any(
                invoice.period[0] <= day <= invoice.period[1]
                and (thing in dairy.sales or dairy.itemised(key))
                for key, invoice in live.items()
            )
        )
    ]


def _waits(dairy: Dairy, sale: UUID) -> bool:
    return dairy.sale_status(sale) == "Pending" and dairy.sale_paid(sale) == 0


def total(dairy: Dairy, things: list[UUID]) -> Decimal:
    """What they come to."""
    return sum((dairy.price(thing)[1] for thing in things), NOTHING)


def issue(dairy: Dairy, made: Row, customer: UUID, month: Month) -> list[UUID]:
    """Make the invoice of the answer in the model; what it bills."""
    start, end = month
    assert start is not None
    assert end is not None
    identity, things = UUID(str(made["invoice_id"])), billable(dairy, customer, month)
    assert str(made["invoice_number"]) not in dairy.numbers(), "a number that somebody has"
    dairy.invoices[identity] = Invoice(
        customer,
        total(dairy, things),
        end,
        (start, end),
        dated=TODAY,
        number=str(made["invoice_number"]),
    )
    for thing in things:
        dairy.lines.setdefault(thing, {})[identity] = dairy.price(thing)[1]
    dairy.adopt("invoice", identity)
    return things


@kind(customer=mostly(customers, st.none(), 12), month=months)
@dataclass(frozen=True, kw_only=True)
class Generate(Rpc):
    """generate_invoice_atomic."""

    needs: ClassVar[str] = "generate_invoice_atomic"
    function: ClassVar[str] = "generate_invoice_atomic"
    weight: ClassVar[int] = 6

    customer: int | None
    month: Month

    def arguments(self, dairy: Dairy) -> dict[str, object]:
        return {
            "p_customer_id": dairy.name("customer", self.customer),
            "p_period_start": self.month[0],
            "p_period_end": self.month[1],
        }

    def malformed(self) -> Faults:
        return one_of([(self.customer is None, "PT400 customer_required")])

    def faults(self, dairy: Dairy) -> Faults:
        customer = dairy.name("customer", self.customer)
        faults = malformed_month(self.month)
        if faults or customer is None or customer not in dairy.customers:
            return faults or {"PT404 customer_not_found"}
        start, end = self.month
        assert start is not None
        assert end is not None
        if overlapping(dairy, customer, (start, end)):
            return {"PT409 already_invoiced"}
        due = total(dairy, billable(dairy, customer, self.month))
        return one_of([(due == 0, "PT422 nothing_to_bill")])

    def conclude(self, dairy: Dairy, row: Row) -> Row:
        customer = dairy.name("customer", self.customer)
        assert customer is not None
        things = issue(dairy, row, customer, self.month)
        of_sales = total(dairy, [thing for thing in things if thing in dairy.sales])
        return {
            "success": True,
            "total_amount": total(dairy, things),
            "manual_sales_amount": of_sales,
            "subscription_amount": total(dairy, things) - of_sales,
            "invoice_status": "sent",
            "line_items": len(things),
        }


@kind(
    customers=mostly(st.lists(customers, min_size=1, max_size=3).map(tuple), st.none(), 3),
    month=months,
    validate=st.sampled_from([True, False, None]),
)
@dataclass(frozen=True, kw_only=True)
class GenerateBulk(Rpc):
    """generate_bulk_invoices_atomic."""

    needs: ClassVar[str] = "generate_bulk_invoices_atomic"
    function: ClassVar[str] = "generate_bulk_invoices_atomic"

    customers: tuple[int, ...] | None
    month: Month
    validate: bool | None

    def named(self, dairy: Dairy) -> list[UUID]:
        """The customers, each once."""
        if self.customers is None:
            return [each for each in dairy.customers if billable(dairy, each, self.month)]
        found = {dairy.name("customer", number) for number in self.customers}
        return [each for each in found if each is not None]

    def arguments(self, dairy: Dairy) -> dict[str, object]:
        named = self.customers
        return {
            "p_period_start": self.month[0],
            "p_period_end": self.month[1],
            "p_customer_ids": None
            if named is None
            else [dairy.name("customer", number) for number in named],
            "p_validate_existing": self.validate,
        }

    def canonical(self, dairy: Dairy) -> object:
        named = self.customers
        whose = None if named is None else {dairy.name("customer", number) for number in named}
        return self.month, whose, self.validate is not False

    def outcome(self, dairy: Dairy, customer: UUID) -> str:
        """What becomes of one customer."""
        start, end = self.month
        assert start is not None
        assert end is not None
        if overlapping(dairy, customer, (start, end)):
            return "already_invoiced"
        things = billable(dairy, customer, self.month)
        return "invoiced" if total(dairy, things) else "nothing_to_bill"

    def faults(self, dairy: Dairy) -> Faults:
        faults = malformed_month(self.month)
        if faults:
            return faults
        named = self.named(dairy)
        if any(customer not in dairy.customers for customer in named):
            return {"PT404 customer_not_found"}
        taken = any(self.outcome(dairy, each) == "already_invoiced" for each in named)
        return one_of([(taken and self.validate is not False, "PT409 already_invoiced")])

    def conclude(self, dairy: Dairy, row: Row) -> Row:
        said = {UUID(each["customer_id"]): each for each in row["outcomes"]}
        expected = {each: self.outcome(dairy, each) for each in self.named(dairy)}
        made = NOTHING
        for customer, outcome in expected.items():
            if outcome == "invoiced" and customer in said and said[customer]["invoice_id"]:
                made += total(dairy, issue(dairy, said[customer], customer, self.month))
        if {each: about["outcome"] for each, about in said.items()} != expected:
            return {"outcomes": expected}
        return {
            "success": True,
            "invoices_created": list(expected.values()).count("invoiced"),
            "total_amount": made,
        }


@dataclass(frozen=True, kw_only=True)
class OfInvoice(Rpc):
    """A call on one invoice."""

    invoice: int | None

    def target(self, dairy: Dairy) -> UUID:
        """The invoice's id, where it was named."""
        found = dairy.name("invoice", self.invoice)
        assert found is not None
        return found

    def malformed(self) -> Faults:
        return one_of([(self.invoice is None, "PT400 invoice_required")])


@kind(
    invoice=mostly(numbers, st.none(), 12),
    permanent=st.sampled_from([False, None, True, None]),
)
@dataclass(frozen=True, kw_only=True)
class DeleteInvoice(OfInvoice):
    """delete_invoice_safe."""

    needs: ClassVar[str] = "delete_invoice_safe"
    function: ClassVar[str] = "delete_invoice_safe"
    weight: ClassVar[int] = 6

    permanent: bool | None

    def arguments(self, dairy: Dairy) -> dict[str, object]:
        return {
            "p_invoice_id": dairy.name("invoice", self.invoice),
            "p_permanent": self.permanent,
        }

    def canonical(self, dairy: Dairy) -> object:
        return self.target(dairy), bool(self.permanent)

    def faults(self, dairy: Dairy) -> Faults:
        invoice = dairy.invoices.get(self.target(dairy))
        if invoice is None:
            return {"PT404 invoice_not_found"}
        return one_of(
            [
                (invoice.deleted and not self.permanent, "PT409 invoice_deleted"),
                (dairy.paid(self.target(dairy)) > 0, "PT409 invoice_holds_money"),
            ]
        )

    def happen(self, dairy: Dairy) -> Row:
        target = self.target(dairy)
        lines = [thing for thing, invoices in dairy.lines.items() if target in invoices]
        dairy.delete(target, permanent=bool(self.permanent))
        return {
            "success": True,
            "permanent": bool(self.permanent),
            "line_items_count": len(lines),
        }


@kind(invoice=mostly(numbers, st.none(), 12))
@dataclass(frozen=True, kw_only=True)
class RecoverInvoice(OfInvoice):
    """recover_invoice."""

    needs: ClassVar[str] = "recover_invoice"
    function: ClassVar[str] = "recover_invoice"
    weight: ClassVar[int] = 6

    def arguments(self, dairy: Dairy) -> dict[str, object]:
        return {"p_invoice_id": dairy.name("invoice", self.invoice)}

    def faults(self, dairy: Dairy) -> Faults:
        target = self.target(dairy)
        invoice = dairy.invoices.get(target)
        if invoice is None or not invoice.deleted:
            return {"PT404 invoice_not_found" if invoice is None else "PT409 invoice_not_deleted"}
        if invoice.word_before == "cancelled":
            return set()
        mine = [thing for thing, invoices in dairy.lines.items() if target in invoices]
        return one_of(
            [
                (
                    overlapping(dairy, invoice.customer, invoice.period, target),
                    "PT409 period_taken",
                ),
                (
                    any(
                        unbillable(dairy, thing, invoice.customer) or dairy.bill(thing) is not None
                        for thing in mine
                        if thing in dairy.sales
                    ),
                    "PT409 sale_taken",
                ),
                (
                    any(
                        thing in dairy.deliveries and dairy.bill(thing) is not None
                        for thing in mine
                    ),
                    "PT409 delivery_taken",
                ),
                (
                    any(
                        unbillable(dairy, thing, invoice.customer)
                        for thing in mine
                        if thing in dairy.deliveries
                    ),
                    "PT409 billed_changed",
                ),
            ]
        )

    def happen(self, dairy: Dairy) -> Row:
        invoice = dairy.invoices[self.target(dairy)]
        invoice.deleted, invoice.word = False, invoice.word_before
        return {"success": True}


@kind(invoice=numbers, what=st.sampled_from(["sale", "delivery"]), number=numbers)
@dataclass(frozen=True, kw_only=True)
class InsertLine(Step):
    """insert into invoice_line_items: the app bills a sale or a delivery."""

    needs: ClassVar[str] = "delete_invoice_safe"
    weight: ClassVar[int] = 6

    invoice: int
    what: str
    number: int

    @property
    def table(self) -> str:
        """Where what it bills is."""
        return {"sale": "sales", "delivery": "deliveries"}[self.what]

    def statement(self, dairy: Dairy) -> Statement:
        invoice, thing = dairy.name("invoice", self.invoice), dairy.name(self.what, self.number)
        assert invoice is not None
        assert thing is not None
        return say(
            f"insert into public.invoice_line_items (id, invoice_id, {self.what}_id,"
            " line_item_type, line_total) values (%s, %s, %s, 'adjustment', (select total_amount"
            f" from public.{self.table} where id = %s))",
            uuid5(invoice, str(thing)),
            invoice,
            thing,
            thing,
        )

    def faults(self, dairy: Dairy) -> Faults:
        identity, thing = dairy.name("invoice", self.invoice), dairy.name(self.what, self.number)
        assert thing is not None
        invoice = None if identity is None else dairy.invoices.get(identity)
        known = thing in dairy.sales or thing in dairy.deliveries
        return one_of(
            [
                (invoice is None or not known, "23503"),
                (identity in dairy.lines.get(thing, ()), "23505"),
                (dairy.bill(thing) is not None, "23505"),
                (
                    invoice is not None
                    and identity is not None
                    and invoice.live
                    and unbillable(
                        dairy,
                        thing,
                        invoice.customer,
                        paid=dairy.invoice_status(identity) == "paid",
                    ),
                    "23514",
                ),
                (known and invoice is not None and self._too_many(dairy), "23514"),
            ]
        )

    def _too_many(self, dairy: Dairy) -> bool:
        """Of what is whole, or paid for: whose total the lines were, or would exceed."""
        identity, thing = dairy.name("invoice", self.invoice), dairy.name(self.what, self.number)
        assert identity is not None
        assert thing is not None
        invoice, listed = dairy.invoices[identity], dairy.listed(identity)
        then = listed + dairy.price(thing)[1]
        if invoice.deleted:
            return True
        whole = dairy.has_lines(identity) and listed == invoice.total
        if not whole and not (dairy.paid(identity) > 0 and then > invoice.total):
            return False
        return invoice.issued and then != invoice.total

    def happen(self, dairy: Dairy) -> Row:
        identity, thing = dairy.name("invoice", self.invoice), dairy.name(self.what, self.number)
        assert identity is not None
        assert thing is not None
        dairy.lines.setdefault(thing, {})[identity] = dairy.price(thing)[1]
        return {}


@kind(sale=numbers, status=st.sampled_from(["Pending", "Completed", "Billed"]))
@dataclass(frozen=True, kw_only=True)
class SaySaleStatus(Step):
    """update sales set payment_status: believed while neither money nor an invoice says more."""

    needs: ClassVar[str] = "delete_invoice_safe"

    sale: int
    status: str

    def statement(self, dairy: Dairy) -> Statement:
        return say(
            "update public.sales set payment_status = %s where id = %s",
            self.status,
            dairy.name("sale", self.sale),
        )

    def happen(self, dairy: Dairy) -> Row:
        identity = dairy.name("sale", self.sale)
        sale = None if identity is None else dairy.sales.get(identity)
        if sale is not None and identity is not None and dairy.bill(identity) is None:
            sale.word = sale.word if dairy.sale_paid(identity) else self.status
        return {}
