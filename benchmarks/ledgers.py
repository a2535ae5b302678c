"""Databases to pay in: with everything deployed, or as the app had it; each run gets a fresh one.

What is in them has ids that follow from numbers (md5 of "payment7"), so that a client knows them
without asking, and needn't keep them.
"""

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path
from uuid import UUID

import psycopg

from pymilk.database.embedded import DURABLE, EmbeddedServer, scratch
from pymilk.database.programs import find_programs
from support.databases import Database, Templates
from support.servers import Server

DEPLOYED, BEFORE = "dairy_hardened", "dairy"
"""All gaps and harden_access deployed; and the live schema as it was before the first of them."""

INVOICES = 3
"""Invoices of each customer; one payment covers them."""

TOTAL = 1000
"""Rupees of each invoice."""

_SCRIPT = """
insert into public.customers (id, billing_name, opening_balance)
select md5('customer' || n)::uuid, 'Bench ' || n, 0
from generate_series(0, %(many)s::bigint - 1) as n;

insert into public.invoice_metadata (
  id, invoice_number, customer_id, invoice_date, period_start, period_end, total_amount,
  subscription_amount, invoice_status, due_date, amount_paid, amount_outstanding
)
select
  md5('invoice' || n * %(invoices)s + i)::uuid, 'B' || n || '-' || i,
  md5('customer' || n)::uuid, date '2025-04-01' + i * 31,
  date '2025-04-01' + i * 31, date '2025-04-30' + i * 31, %(total)s,
  %(total)s, 'sent', date '2099-01-01', 0, %(total)s
from generate_series(0, %(many)s::bigint - 1) as n, generate_series(0, %(invoices)s - 1) as i;

insert into public.payments (
  id, customer_id, amount, payment_date, payment_method, allocation_status, amount_applied,
  amount_unapplied
)
select
  md5('payment' || n)::uuid, md5('customer' || n)::uuid, %(invoices)s * %(total)s,
  date '2025-09-10', 'UPI', 'unapplied', 0, %(invoices)s * %(total)s
from generate_series(0, %(many)s::bigint - 1) as n;

insert into public.unapplied_payments (customer_id, payment_id, amount_unapplied)
select customer_id, id, amount_unapplied from public.payments where amount_unapplied > 0
"""


def named(kind: str, number: int) -> str:
    """The id of a customer, an invoice or a payment."""
    return str(UUID(md5(f"{kind}{number}".encode(), usedforsecurity=False).hexdigest()))


@contextmanager
def stages(*, durable: bool = False) -> Iterator[Templates]:
    """An embedded server, and what there is templates of; both are gone when the block ends.

    Args:
        durable: Whether commits wait for the disk.
    """
    with (
        (_on_disk if durable else scratch)() as embedded,
        closing(Server("embedded", embedded.url, find_programs().major)) as server,
    ):
        yield Templates(server, "bench")


@contextmanager
def _on_disk() -> Iterator[EmbeddedServer]:
    """A server whose commits wait for the disk, with room for a checkpoint in minutes alone."""
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedServer(Path(folder, "server"), (*DURABLE, ("max_wal_size", "4GB")))
        server.start()
        try:
            yield server
        finally:
            server.destroy()


@dataclass(frozen=True)
class Ledgers:
    """A template with many customers who owe, and databases like it.

    Attributes:
        templates: Of the server.
        template: The database that others are cloned from.
    """

    templates: Templates
    template: Database

    @contextmanager
    def fresh(self, script: str = "") -> Iterator[Database]:
        """A database like the template, with its pages in memory; dropped when the block ends.

        Args:
            script: What the owner adds to it first.
        """
        with self.templates.like(self.template) as database:
            with psycopg.connect(database.superuser_url, autocommit=True) as connection:
                connection.execute(script.encode())
                for table in ("customers", "invoice_metadata", "payments", "unapplied_payments"):
                    connection.execute(f"select count(*) from public.{table}".encode())
            yield database


@contextmanager
def ledgers(templates: Templates, stage: str, many: int) -> Iterator[Ledgers]:
    """Customers who paid, with invoices that their money waits for.

    Triggers are off while they are written: what they would derive is written as it has to be, and
    asked of the invariants' queries by whoever wants to know.

    Args:
        templates: Of the server.
        stage: DEPLOYED or BEFORE.
        many: How many customers, numbered from 0.
    """
    values = {"many": many, "invoices": INVOICES, "total": TOTAL}
    with templates.clone(stage) as template:
        with psycopg.connect(template.superuser_url, autocommit=True) as connection:
            connection.execute("set session_replication_role = replica")
            for statement in _SCRIPT.split(";\n"):
                connection.execute(statement.encode(), values)
            connection.execute("vacuum (analyze)")
        yield Ledgers(templates, template)
