"""What a watch costs: the processor's time of client and server for a sample.

The dairy with everything deployed, and a year of books in it: for each of its customers twelve
invoices with thirty lines, a payment for each, and the allocations. Samples are taken one after the
other; what one takes is set against a sample a minute.
"""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.rows import TupleRow

from pymilk.database.cluster import SUPERUSER
from pymilk.database.connection import Target
from pymilk.database.embedded import scratch
from pymilk.database.ledger import prepare_ledger
from pymilk.demo import dairy
from pymilk.deploy.basis.plan import Plan
from pymilk.deploy.watch.watch import Asked, Seen, watch
from pymilk.project.policy import Preset
from pymilk.project.project import load_project
from side_by_side import Effort, Rounds, Row, at_most

_HERE = Path(__file__).parent

SAMPLES = 40
EVERY_SECONDS = 60.0

# Past the triggers: what they would derive is written as it would be.
YEAR = """
set session_replication_role = replica;
insert into public.invoice_metadata (
  customer_id, invoice_date, period_start, period_end, total_amount, invoice_status, due_date,
  amount_paid, amount_outstanding, last_payment_date
)
select
  c.id, m.day + 31, m.day, (m.day + interval '1 month - 1 day')::date, 1500, 'paid', m.day + 40,
  1500, 0, m.day + 35
from public.customers as c
cross join (
  select ('2024-08-01'::date + make_interval(months => n))::date as day
  from generate_series(0, 11) as n
) as m;
insert into public.invoice_line_items (invoice_id, line_item_type, line_total, bills)
select i.id, 'subscription', 50, true
from public.invoice_metadata as i cross join generate_series(1, 30);
insert into public.payments (
  customer_id, amount, payment_date, payment_method, primary_invoice_id, allocation_status,
  amount_applied, amount_unapplied
)
select i.customer_id, 1500, i.last_payment_date, 'UPI', i.id, 'fully_applied', 1500, 0
from public.invoice_metadata as i;
insert into public.invoice_payments (invoice_id, payment_id, amount_allocated)
select p.primary_invoice_id, p.id, 1500 from public.payments as p;
reset session_replication_role;
analyze;
"""


def rows(effort: Effort) -> Iterable[Row]:
    """The share of a core, once a minute; and for how long a sample holds its snapshot."""
    with scratch() as server:
        with psycopg.connect(server.url()) as connection:
            for migration in load_project(_HERE).migrations:
                connection.execute(migration.up.text.encode())
                if migration.name == "baseline":
                    dairy.load(connection)
        with psycopg.connect(server.url(user=SUPERUSER), autocommit=True) as connection:
            connection.execute(YEAR.encode())
        with psycopg.connect(server.url(), autocommit=True) as connection:
            prepare_ledger(connection)
            costs = _costs(connection, server.url(), effort)
    share = "watching, a sample a minute: share of a core, in percent"
    shares = [100 * each.processor_seconds / EVERY_SECONDS for each in costs]
    yield Rounds({share: shares}, "").alone(share, at_most(1))
    held = "watching: a sample's snapshot is held"
    milliseconds = [1000 * each.held_seconds for each in costs]
    yield Rounds({held: milliseconds}, "ms").alone(held)


@dataclass(frozen=True)
class _Cost:
    """What one sample takes, of client and server together."""

    processor_seconds: float
    held_seconds: float


def _costs(connection: psycopg.Connection[TupleRow], url: str, effort: Effort) -> Sequence[_Cost]:
    """The mean of several samples, several times: the clocks of processes are coarse."""
    project = load_project(_HERE)
    policy = project.policy(Preset.LOCAL)
    asked = Asked(project, Target(url, Preset.LOCAL), policy, 0.0, 1e9, _nothing_to_roll_back)
    samples = (each for each in watch(asked) if isinstance(each, Seen))
    next(samples)
    found = connection.execute(
        "select pid from pg_stat_activity where application_name = 'pymilk watch'"
    ).fetchone()
    if found is None:
        raise AssertionError("the watch has a session")
    many = effort.choose(SAMPLES, 5)
    return [_cost(samples, found[0], many) for _ in range(effort.choose(5, 2))]


def _cost(samples: Iterator[Seen], backend: int, many: int) -> _Cost:
    before = time.process_time() + _cpu_seconds(backend)
    held = [next(samples).taken.sample.held_seconds for _ in range(many)]
    after = time.process_time() + _cpu_seconds(backend)
    return _Cost((after - before) / many, sum(held) / many)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _nothing_to_roll_back(version: str) -> Plan:
    raise AssertionError(version)
