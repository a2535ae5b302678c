"""The dairy as its app and its back office see it: roles, tables and functions, nothing else.

Written from the contract of the ten gaps alone; it knows nothing of how they are fixed.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from functools import cached_property
from itertools import count
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from support.databases import Connection, Database

Row = dict[str, Any]

_DAYS = (date(1990, 1, 1) + timedelta(days=day) for day in count())


@dataclass(frozen=True)
class Session:
    """One connection with a role, every statement its own transaction.

    Attributes:
        connection: The connection.
    """

    connection: Connection

    def rows(self, query: str, *values: object) -> list[Row]:
        """All rows, as dictionaries."""
        with self.connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query.encode(), values).fetchall()

    def row(self, query: str, *values: object) -> Row:
        """The one row there is."""
        (found,) = self.rows(query, *values)
        return found

    def value(self, query: str, *values: object) -> Any:  # noqa: ANN401 - what SQL gives
        """The one value there is."""
        (found,) = self.row(query, *values).values()
        return found

    def run(self, statement: str, *values: object) -> int:
        """Execute; how many rows it touched."""
        return self.connection.execute(statement.encode(), values).rowcount

    def insert(self, table: str, **columns: object) -> Row:
        """Insert a row as the API does: it comes back as it stands."""
        statement = sql.SQL("insert into public.{} ({}) values ({}) returning *").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, columns)),
            sql.SQL(", ").join(sql.Placeholder() * len(columns)),
        )
        with self.connection.cursor(row_factory=dict_row) as cursor:
            found = cursor.execute(statement, list(columns.values())).fetchone()
        assert found is not None
        return found

    def rpc(self, function: str, **arguments: object) -> Row:
        """Call a function that answers with one record."""
        (found,) = self.rpc_rows(function, **arguments)
        return found

    def rpc_rows(self, function: str, **arguments: object) -> list[Row]:
        """Call a function that answers with rows."""
        named = sql.SQL(", ").join(
            sql.SQL("{} => {}").format(sql.Identifier(name), sql.Placeholder())
            for name in arguments
        )
        statement = sql.SQL("select * from public.{}({})").format(sql.Identifier(function), named)
        values = [Jsonb(v) if type(v) in {list, dict} else v for v in arguments.values()]
        with self.connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(statement, values).fetchall()

    @contextmanager
    def key(self, key: str) -> Iterator[None]:
        """Send an idempotency key with every call of the block."""
        self.connection.execute("select set_config('pymilk.idempotency_key', %s, false)", [key])
        yield
        self.connection.execute("select set_config('pymilk.idempotency_key', '', false)")


class Ids(list[UUID]):
    """A list of ids that is sent as a uuid[] and not as json."""


@dataclass(frozen=True)
class Dairy:
    """The dairy with all ten gaps fixed; a session is opened when a test first needs it.

    Attributes:
        database: Where it is.
    """

    database: Database

    @cached_property
    def app(self) -> Session:
        """The web app's session: role authenticated."""
        return self.session()

    @cached_property
    def office(self) -> Session:
        """The back office's session: role service_role."""
        return self.session("service_role")

    @cached_property
    def owner(self) -> Session:
        """The owner's session, to look with."""
        return self.session(None)

    def session(self, role: str | None = "authenticated") -> Session:
        """One more session."""
        return Session(self.database.connect(role=role, autocommit=True))

    def customer(self, opening_balance: object = 0, **columns: object) -> UUID:
        """A new customer."""
        made = self.app.insert(
            "customers", billing_name="Contract", opening_balance=opening_balance, **columns
        )
        return UUID(str(made["id"]))

    def payment(self, customer: UUID | None, amount: object, **columns: object) -> UUID:
        """A new payment, inserted as the app does."""
        made = self.app.insert(
            "payments",
            customer_id=customer,
            amount=amount,
            payment_date=columns.pop("payment_date", date(2025, 9, 20)),
            allocation_status="unapplied",
            amount_unapplied=amount,
            **columns,
        )
        return UUID(str(made["id"]))

    def invoice(self, customer: UUID, total: object, **columns: object) -> UUID:
        """A new invoice for days of its own, inserted as the app does."""
        day = next(_DAYS)
        values = {
            "invoice_date": date(2025, 9, 1),
            "period_start": day,
            "period_end": day,
            "invoice_status": "sent",
            "due_date": date(2999, 1, 1),
            **columns,
        }
        made = self.app.insert(
            "invoice_metadata", customer_id=customer, total_amount=total, **values
        )
        return UUID(str(made["id"]))

    def sale(self, customer: UUID, total: object, day: date, **columns: object) -> UUID:
        """A new Credit sale that waits to be billed or paid."""
        made = self.app.insert(
            "sales",
            customer_id=customer,
            product_id=self.product(),
            quantity=1,
            unit_price=total,
            total_amount=total,
            sale_type="Credit",
            payment_status="Pending",
            sale_date=day,
            **columns,
        )
        return UUID(str(made["id"]))

    def delivery(self, customer: UUID, quantity: object, price: object, day: date) -> UUID:
        """A delivery that was made."""
        made = self.app.insert(
            "deliveries",
            customer_id=customer,
            product_id=self.product(),
            route_id=self.app.value("select id from public.routes order by name limit 1"),
            order_date=day,
            planned_quantity=quantity,
            actual_quantity=quantity,
            unit_price=price,
            total_amount=Decimal(str(quantity)) * Decimal(str(price)),
            delivery_status="delivered",
        )
        return UUID(str(made["id"]))

    def product(self) -> UUID:
        """Any product."""
        return UUID(str(self.app.value("select id from public.products order by code limit 1")))

    def allocate(self, payment: UUID, *lines: tuple[UUID, object], **more: object) -> Row:
        """allocate_payment_atomic as the app calls it."""
        return self.app.rpc(
            "allocate_payment_atomic",
            p_payment_id=payment,
            p_allocations=[{"invoiceId": str(i), "amount": _plain(a)} for i, a in lines],
            **{"p_validate_amounts": True, **more},
        )

    def payment_row(self, payment: UUID) -> Row:
        """The payment as it stands."""
        return self.app.row("select * from public.payments where id = %s", payment)

    def invoice_row(self, invoice: UUID) -> Row:
        """The invoice as it stands."""
        return self.app.row("select * from public.invoice_metadata where id = %s", invoice)

    def unapplied(self, payment: UUID) -> list[Decimal]:
        """The amounts of the payment's rows in unapplied_payments."""
        found = self.app.rows(
            "select amount_unapplied from public.unapplied_payments where payment_id = %s", payment
        )
        return [row["amount_unapplied"] for row in found]

    def assert_sound(self) -> None:
        """No invariant is broken."""
        assert self.office.rpc_rows("check_payment_invariants") == []


def _plain(amount: object) -> object:
    return amount if isinstance(amount, (int, str)) else str(amount)


@contextmanager
def refused(*reasons: str, status: int | None = None) -> Iterator[Row]:
    """Expect a refusal of an RPC: raised, with facts and a hint.

    Args:
        reasons: One of these is the message; none: any reason will do.
        status: The HTTP status.
    """
    facts: Row = {}
    with pytest.raises(psycopg.DatabaseError) as caught:
        yield facts
    diagnostic = caught.value.diag
    assert diagnostic.sqlstate is not None
    assert diagnostic.sqlstate.startswith("PT4"), caught.value
    if status is not None:
        assert diagnostic.sqlstate == f"PT{status}", caught.value
    if reasons:
        assert diagnostic.message_primary in reasons
    assert diagnostic.message_hint
    facts.update(json.loads(diagnostic.message_detail or "null") or {})


@contextmanager
def ruled_out() -> Iterator[None]:
    """Expect a direct write to be refused by a rule of the tables."""
    with pytest.raises(psycopg.errors.IntegrityError):
        yield


def columns_of(row: Mapping[str, object], *names: str) -> Sequence[object]:
    """Some of the columns, in this order."""
    return tuple(row[name] for name in names)
