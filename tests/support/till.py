"""A till: one customer's payment with the invoices that it can pay, on the demo dairy."""

from dataclasses import dataclass
from uuid import UUID

import psycopg
from psycopg.rows import TupleRow

from support.databases import Database

Connection = psycopg.Connection[TupleRow]


@dataclass(frozen=True)
class Till:
    """What a payment needs around it.

    Attributes:
        database: Where it is.
        customer: Whose it is.
        payment: A payment of 800 rupees, unapplied.
        invoices: Two invoices of its customer, of 500 and of 1,000 rupees.
        stranger: An invoice of 400 rupees of another customer.
        nobody: A payment of 100 rupees without a customer.
    """

    database: Database
    customer: UUID
    payment: UUID
    invoices: tuple[UUID, UUID]
    stranger: UUID
    nobody: UUID


def open_till(database: Database) -> Till:
    """Put one into a database in which gap 001 is fixed; committed.

    Its customers are new ones: tills have nothing in common.
    """
    connection = database.connect(autocommit=True)
    customer, other = new_customer(connection), new_customer(connection)
    return Till(
        database=database,
        customer=customer,
        payment=_payment(connection, customer, 800),
        invoices=(
            _invoice(connection, customer, 500, month=7),
            _invoice(connection, customer, 1000, month=8),
        ),
        stranger=_invoice(connection, other, 400, month=8),
        nobody=_payment(connection, None, 100),
    )


def new_customer(connection: Connection) -> UUID:
    """One of whom there is nothing yet."""
    return _id(
        connection,
        "insert into public.customers (billing_name) values ('A customer') returning id",
        [],
    )


def _payment(connection: Connection, customer: UUID | None, amount: int) -> UUID:
    return _id(
        connection,
        """
        insert into public.payments (customer_id, amount, payment_date)
        values (%s, %s, date '2025-09-16') returning id
        """,
        [customer, amount],
    )


def _invoice(connection: Connection, customer: UUID, amount: int, *, month: int) -> UUID:
    return _id(
        connection,
        """
        insert into public.invoice_metadata (
          customer_id, invoice_date, period_start, period_end, total_amount, invoice_status
        )
        values (
          %s, date '2025-09-01', make_date(2025, %s, 1), make_date(2025, %s, 31), %s, 'sent'
        )
        returning id
        """,
        [customer, month, month, amount],
    )


def _id(connection: Connection, statement: str, values: list[object]) -> UUID:
    row = connection.execute(statement.encode(), values).fetchone()
    assert row is not None
    assert isinstance(row[0], UUID)
    return row[0]
