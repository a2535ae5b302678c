"""The dairy's books in plain Python: dicts, Decimals and the contract, no SQL.

What the database says after each step of a history is compared with what stands here.
"""

from collections.abc import Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, localcontext
from typing import Any
from uuid import UUID

NOTHING = Decimal(0)
LIMIT = Decimal(10) ** 10
FAR, PAST = date(2999, 1, 1), date(2020, 1, 1)
"""Days on which an invoice is due: not in this test's life, and long ago."""

Pair = tuple[UUID, UUID]
Snapshot = dict[str, dict[str, Any]]


def paise(value: object) -> Decimal | None:
    """A legal amount out of what a caller sent; None where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    text = str(value)
    if not text.isascii():
        return None
    digits, dot, decimals = text.partition(".")
    if not digits.isdigit() or (dot and not decimals.isdigit()) or len(text) > 40:
        return None
    with localcontext() as context:
        context.prec = 60
        amount = Decimal(text)
        if not NOTHING < amount < LIMIT or amount != amount.quantize(Decimal("0.01")):
            return None
    return amount


def plain(amount: Decimal) -> str:
    """An amount as text, without trailing zeros: as trim_scale() gives it."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def made(kind: str, number: int) -> UUID:
    """The id of the thing with this number that the app inserts."""
    return UUID(f"{'cpisd'.index(kind[0]) + 1:08d}-0000-4000-8000-{number:012d}")


@dataclass
class Payment:
    """Money that came in."""

    customer: UUID | None
    amount: Decimal
    paid_on: date
    method: str | None = None
    voided: bool = False


@dataclass
class Invoice:
    """What a customer was billed.

    Attributes:
        word: draft, sent or cancelled: what people decide; the rest follows from the money.
        period: Its first and last day.
        deleted: Soft-deleted; `word_before` is what it then was.
        was_issued: Whether it ever was, and then became a draft or cancelled.
    """

    customer: UUID
    total: Decimal
    due: date
    period: tuple[date, date]
    word: str = "sent"
    deleted: bool = False
    word_before: str = "sent"
    dated: date = date(2025, 9, 1)
    number: str | None = None
    was_issued: bool = False

    @property
    def order(self) -> tuple[object, ...]:
        """What decides between invoices that are due on the same day."""
        return self.dated, self.number or "~"

    @property
    def live(self) -> bool:
        """Neither cancelled nor deleted."""
        return self.word != "cancelled"

    @property
    def issued(self) -> bool:
        """Live, and no draft."""
        return self.word not in {"cancelled", "draft"}


@dataclass
class Sale:
    """A Credit sale; `word` is what the app says of it while nothing else decides."""

    customer: UUID
    total: Decimal
    sold_on: date
    word: str = "Pending"


@dataclass
class Delivery:
    """Milk at somebody's door."""

    customer: UUID
    total: Decimal
    delivered_on: date


@dataclass(frozen=True)
class Kept:
    """What is kept under an idempotency key."""

    arguments: object
    answer: Mapping[str, Any]
    call: object
    payment: UUID | None = None
    undone: bool = False


@dataclass
class Dairy:
    """All books of one history.

    Attributes:
        functions: The functions that the database has: what a gap adds is expected from it on.
        known: Ids by kind in the order in which they came up; a step names them by number.
        on_invoices: Rupees by payment and invoice; on_opening and on_sales likewise.
        sources: What each call put on a pair since its row came up; None is who wrote directly.
        acting: The call that is being made; None is a direct write.
        lines: Sale or delivery → the invoices that have a line of it, and what it says it costs.
        kept: Idempotency keys by caller, function and key.
        taken: Invoice numbers that somebody took from the counter for an invoice of his own.
    """

    functions: frozenset[str]
    customers: dict[UUID, Decimal] = field(default_factory=dict)
    payments: dict[UUID, Payment] = field(default_factory=dict)
    invoices: dict[UUID, Invoice] = field(default_factory=dict)
    sales: dict[UUID, Sale] = field(default_factory=dict)
    deliveries: dict[UUID, Delivery] = field(default_factory=dict)
    on_invoices: dict[Pair, Decimal] = field(default_factory=dict)
    on_opening: dict[Pair, Decimal] = field(default_factory=dict)
    on_sales: dict[Pair, Decimal] = field(default_factory=dict)
    sources: dict[Pair, dict[object, Decimal]] = field(default_factory=dict)
    acting: object = None
    calls: int = 0
    lines: dict[UUID, dict[UUID, Decimal]] = field(default_factory=dict)
    kept: dict[tuple[str, str, str], Kept] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    adopted: dict[str, tuple[UUID, ...]] = field(default_factory=dict)
    newcomers: list[tuple[str, UUID]] = field(default_factory=list)

    def copy(self) -> "Dairy":
        """Books of their own, to try a step on."""
        return deepcopy(self)

    def has(self, function: str) -> bool:
        """Whether the gap that brings this function is deployed."""
        return function in self.functions

    # names ------------------------------------------------------------------------------------

    def name(self, kind: str, number: int | None) -> UUID | None:
        """The id that a step means by a number: made by the app below 10, by an RPC from 10 on."""
        if number is None:
            return None
        adopted = self.adopted.get(kind, ())
        return adopted[number - 10] if 10 <= number < 10 + len(adopted) else made(kind, number)

    def adopt(self, kind: str, identity: UUID) -> None:
        """Note what an RPC made; it gets its number when the step (or the batch) is over."""
        self.newcomers.append((kind, identity))

    def welcome(self) -> None:
        """Number what RPCs have made since."""
        for kind, identity in self.newcomers:
            self.adopted[kind] = (*self.adopted.get(kind, ()), identity)
        self.newcomers.clear()

    # sums -------------------------------------------------------------------------------------

    def applied(self, payment: UUID) -> Decimal:
        """What of a payment is allocated, whatever to."""
        return sum(
            (
                amount
                for rows in (self.on_invoices, self.on_opening, self.on_sales)
                for (source, _), amount in rows.items()
                if source == payment
            ),
            NOTHING,
        )

    def left(self, payment: UUID) -> Decimal:
        """What of a payment is not; nothing of a voided one."""
        found = self.payments[payment]
        return NOTHING if found.voided else found.amount - self.applied(payment)

    def allocation_status(self, payment: UUID) -> str:
        """What follows from the sums."""
        applied = self.applied(payment)
        if applied == 0:
            return "unapplied"
        return "partially_applied" if applied < self.payments[payment].amount else "fully_applied"

    def paid(self, invoice: UUID) -> Decimal:
        """What was paid of an invoice."""
        return _to(self.on_invoices, invoice)

    def outstanding(self, invoice: UUID) -> Decimal:
        """What is still open of an invoice."""
        return self.invoices[invoice].total - self.paid(invoice)

    def opening_left(self, customer: UUID) -> Decimal:
        """What is still open of an opening balance."""
        return self.customers[customer] - _to(self.on_opening, customer)

    def sale_paid(self, sale: UUID) -> Decimal:
        """What was paid of a sale by itself."""
        return _to(self.on_sales, sale)

    def oldest_first(self, customer: UUID) -> list[UUID]:
        """Their open invoices by due date (drafts left out); the app's all have the same date."""
        found = [
            key
            for key, invoice in self.invoices.items()
            if invoice.customer == customer and invoice.word == "sent" and self.outstanding(key) > 0
        ]
        return sorted(
            found, key=lambda key: (self.invoices[key].due, self.invoices[key].order, key)
        )

    def owed(self, customer: UUID) -> Decimal:
        """Outstanding: the opening balance and the issued invoices."""
        return self.opening_left(customer) + sum(
            (
                self.outstanding(key)
                for key, invoice in self.invoices.items()
                if invoice.customer == customer and invoice.word == "sent"
            ),
            NOTHING,
        )

    def invoice_status(self, invoice: UUID) -> str:
        """What follows from people's word and the money; overdue is sent, seen on a later day."""
        found = self.invoices[invoice]
        if found.word != "sent":
            return found.word
        if self.outstanding(invoice) <= 0:
            return "paid"
        return "partially_paid" if self.paid(invoice) > 0 else "sent"

    def last_paid(self, invoice: UUID) -> date | None:
        """The day of the latest payment that is allocated to it."""
        return max(
            (
                self.payments[source].paid_on
                for source, target in self.on_invoices
                if target == invoice
            ),
            default=None,
        )

    def bill(self, thing: UUID) -> UUID | None:
        """The live invoice that bills a sale or a delivery."""
        live = (key for key in self.lines.get(thing, ()) if self.invoices[key].live)
        return next(live, None)

    def sale_status(self, sale: UUID) -> str:
        """Completed when it or its invoice is paid; Billed on one; else the app's word."""
        found, bill = self.sales[sale], self.bill(sale)
        if self.sale_paid(sale) >= found.total:
            return "Completed"
        if bill is not None:
            return "Completed" if self.invoice_status(bill) == "paid" else "Billed"
        return found.word

    # moves ------------------------------------------------------------------------------------

    def move(self, rows: dict[Pair, Decimal], pair: Pair, change: Decimal) -> None:
        """Put more (or less) of a payment on what it pays, in the name of who is acting."""
        rows[pair] = rows.get(pair, NOTHING) + change
        sources = self.sources.setdefault(pair, {})
        sources[self.acting] = sources.get(self.acting, NOTHING) + change
        if rows[pair] == 0:
            del rows[pair], self.sources[pair]
            if rows is self.on_sales:
                self.sales[pair[1]].word = "Pending"

    def clear(
        self,
        rows: dict[Pair, Decimal],
        payment: UUID,
        targets: Collection[UUID | None] | None = None,
    ) -> Decimal:
        """Take a payment off what it pays (off everything unless named); how much that was."""
        found = {
            pair: amount
            for pair, amount in rows.items()
            if pair[0] == payment and (targets is None or pair[1] in targets)
        }
        for pair, amount in found.items():
            self.move(rows, pair, -amount)
        return sum(found.values(), NOTHING)

    def undo(self, rows: dict[Pair, Decimal], payment: UUID, call: object) -> list[Decimal]:
        """Take off what a call put there, as far as it is there and nobody else's."""
        taken = []
        for pair, held in [each for each in rows.items() if each[0][0] == payment]:
            sources = self.sources[pair]
            others = [amount for source, amount in sources.items() if source != call]
            rest = held - sum((amount for amount in others if amount > 0), NOTHING)
            amount = min(sources.get(call, NOTHING), rest)
            if amount > 0:
                self.move(rows, pair, -amount)
                taken.append(amount)
        return taken

    def price(self, thing: UUID) -> tuple[UUID, Decimal]:
        """Whose a sale or a delivery is, and what it costs."""
        found = self.sales.get(thing) or self.deliveries[thing]
        return found.customer, found.total

    def itemised(self, invoice: UUID) -> bool:
        """Whether its lines say all that it bills; otherwise it may have billed anything."""
        return self.invoices[invoice].total == self.listed(invoice)

    def listed(self, invoice: UUID) -> Decimal:
        """What its lines come to."""
        named = (invoices.get(invoice, NOTHING) for invoices in self.lines.values())
        return sum(named, NOTHING)

    def has_lines(self, invoice: UUID) -> bool:
        """Whether it has any."""
        return any(invoice in invoices for invoices in self.lines.values())

    def numbers(self) -> set[str]:
        """Invoice numbers that are in use or taken."""
        return self.taken | {each.number for each in self.invoices.values() if each.number}

    def not_adding_up(self) -> set[UUID]:
        """Issued invoices whose lines, where they have any, don't come to their totals."""
        return {key for key, each in self.invoices.items() if each.issued and self.off(key)}

    def off(self, invoice: UUID) -> bool:
        """Whether it has lines, and they don't come to its total."""
        return self.has_lines(invoice) and not self.itemised(invoice)

    def free(self, invoice: UUID) -> None:
        """An invoice stops billing: the sales on it wait to be billed again."""
        for thing, invoices in self.lines.items():
            if invoice in invoices and thing in self.sales:
                self.sales[thing].word = "Pending"

    def delete(self, invoice: UUID, *, permanent: bool) -> None:
        """Delete an invoice, for good or to be recovered."""
        found = self.invoices[invoice]
        if found.live:
            self.free(invoice)
        if permanent:
            del self.invoices[invoice]
            for invoices in self.lines.values():
                invoices.pop(invoice, None)
        else:
            found.was_issued |= found.issued
            found.deleted, found.word_before, found.word = True, found.word, "cancelled"

    # the whole --------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Everything as the database should show it (see steps.LOOK)."""
        found: Snapshot = {
            "payments": {
                str(key): [
                    _text(payment.customer),
                    plain(payment.amount),
                    plain(self.applied(key)),
                    plain(self.left(key)),
                    self.allocation_status(key),
                    payment.voided,
                ]
                for key, payment in self.payments.items()
            },
            "invoices": {
                str(key): [
                    str(invoice.customer),
                    plain(invoice.total),
                    plain(self.paid(key)),
                    plain(self.outstanding(key)),
                    self.invoice_status(key),
                    _text(self.last_paid(key)),
                    invoice.word_before if invoice.deleted else None,
                ]
                for key, invoice in self.invoices.items()
            },
            "allocations": {
                f"{source} {target}": plain(amount)
                for rows in (self.on_invoices, self.on_opening, self.on_sales)
                for (source, target), amount in rows.items()
            },
        }
        if self.has("reconcile_unapplied_payments"):
            found["unapplied"] = {
                str(key): [[str(payment.customer), plain(self.left(key))]]
                for key, payment in self.payments.items()
                if payment.customer and self.left(key) > 0
            }
        if self.has("delete_invoice_safe"):
            found["sales"] = {str(key): self.sale_status(key) for key in self.sales}
        if self.has("allocate_opening_balance_atomic"):
            found["opening"] = {
                str(key): [plain(balance), plain(_to(self.on_opening, key))]
                for key, balance in self.customers.items()
            }
        return found


def _to(rows: Mapping[Pair, Decimal], wanted: UUID) -> Decimal:
    return sum((amount for (_, target), amount in rows.items() if target == wanted), NOTHING)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
