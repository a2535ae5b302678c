"""The toy project with what a report needs to know, and its database as a rehearsal has left it."""

import uuid
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from pymilk.database.connection import connect
from pymilk.database.ledger import Entry
from pymilk.deploy import after, apply
from pymilk.deploy.basis.evidence import Evidence
from pymilk.deploy.basis.plan import Bench
from pymilk.deploy.basis.sample import Activity, Broken, Sample, Waits
from support.databases import Database
from support.projects import Toy, write_toy

# The toy's shop is the dairy's neighbour: it counts in rupees, and its day begins when theirs does.
SETTINGS = """
[tool.pymilk.report]
locale = "en_IN"
currency = "INR"

[tool.pymilk.policy.live]
time_zone = "Asia/Kolkata"
"""
OWED = """\
-- What each customer owes. The opening balance stands beside it.
-- money: owed, opening
-- name: name
select c.id, c.name, public.owed(c.id), c.opening from public.customers as c order by c.id;
"""
BY_AGE = """\
-- What is owed, by bill.
-- Bills that are paid are left out.
-- money: owed
-- chart: bars of owed by bill
select b.id as bill, c.name as customer, b.amount - b.paid as owed
from public.bills as b
inner join public.customers as c on b.customer_id = c.id
where b.paid < b.amount
order by b.id;
"""


def write_reported(root: Path) -> Toy:
    """The toy project, with what a report needs to know."""
    made = write_toy(root)
    made.settings(SETTINGS)
    made.write("sql/state", "owed", OWED)
    made.write("sql/books", "by_bill", BY_AGE)
    return made


@dataclass(frozen=True)
class Rehearsed:
    """The toy's database with its gap rehearsed and not deployed, and what proves it."""

    database: Database
    evidence: Evidence
    run: uuid.UUID

    def apply(self, toy: Toy, database: Database) -> Evidence:
        """Deploy on a copy of it, by the real step."""
        with connect(database.url, purpose="test") as guard:
            return apply.run(replace(toy.plan(database), run=self.run), guard, self.evidence)

    def look(self, toy: Toy, database: Database, applied: Evidence) -> None:
        """The first look afterwards, which needs no bench."""
        nowhere = Bench("", "", 0, "")
        after.run(replace(toy.plan(database), run=self.run), nowhere, applied)


DAILY = (
    *("route_sheet", "deliveries_of_the_month", "open_invoices", "recent_payments"),
    "what_a_page_of_customers_owes",
)


def an_hour_of(deploy: Entry) -> list[Sample]:
    """An hour of watching; in its middle a rule is broken."""
    begin = deploy.happened_at
    broken = (Broken("overpaid", 1, 1, (("2", "10", "20"),)),)
    return [
        Sample(
            begin + timedelta(minutes=minute),
            0.01,
            {"overpaid": 0.001},
            broken=broken if 20 <= minute < 25 else (),
            activity=Activity(1000 * minute, 2 * minute, 0),
            waits=Waits(1, 0.4, ("psql",)) if minute == 30 else Waits(),
            times=dict.fromkeys(DAILY, 0.01),
            times_before={"route_sheet": 0.008},
            warnings=("route_sheet takes <twice> as long",) if minute > 40 else (),
            lacking={"pg_stat_statements": "it is not installed"},
        )
        for minute in range(60)
    ]


HISTORY = """
with customer as (
  select id, row_number() over (order by id) as number from public.customers limit 40
)
insert into public.invoice_metadata
  (customer_id, invoice_date, period_start, period_end, total_amount, due_date, invoice_status)
select
  id, current_date - 200, current_date - 230, current_date - 201, 100 + number,
  current_date + 10 - (number * 4)::integer, 'sent'
from customer;
insert into public.payments (customer_id, amount, payment_date, payment_method)
select customer_id, total_amount + 5, current_date - 3, 'Cash'
from public.invoice_metadata where due_date < current_date - 95;
insert into public.payments (customer_id, amount, payment_date, payment_method)
select id, 2500.50, current_date - 40, 'UPI' from public.customers order by id desc limit 1;
insert into public.invoice_payments (invoice_id, payment_id, amount_allocated)
select invoice.id, payment.id, invoice.total_amount
from public.payments as payment
join public.invoice_metadata as invoice using (customer_id);
"""
"""Invoices of every age, some of them paid, with a little credit left."""
