"""What a watch costs: python benchmarks/watching.py, CPU of client and server for each sample.

The dairy with everything deployed, and a year of books in it: for each of its customers twelve
invoices with thirty lines, a payment for each, and the allocations. Samples are taken one after the
other; what one takes is set against a sample a minute.
"""

import os
import time
from pathlib import Path

import psycopg

from pymilk.database.connection import Target
from pymilk.database.embedded import scratch
from pymilk.database.ledger import prepare_ledger
from pymilk.demo import dairy
from pymilk.deploy.plan import Plan
from pymilk.deploy.watch import Asked, Seen, watch
from pymilk.project.policy import Preset
from pymilk.project.project import load_project

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


def main() -> None:
    """Measure, and print."""
    project = load_project(Path(__file__).parent)
    with scratch() as server:
        with psycopg.connect(server.url()) as connection:
            for migration in project.migrations:
                connection.execute(migration.up.text.encode())
                if migration.name == "baseline":
                    dairy.load(connection)
        with psycopg.connect(server.url(user="supabase_admin"), autocommit=True) as connection:
            connection.execute(YEAR.encode())
        with psycopg.connect(server.url(), autocommit=True) as connection:
            prepare_ledger(connection)
            for name, seconds in _cost(connection, server.url()).items():
                share = seconds / EVERY_SECONDS
                print(f"{name:<22}{seconds * 1e3:8.1f} ms  {share:.2%} of a core, once a minute")


def _cost(connection: psycopg.Connection[tuple[int]], url: str) -> dict[str, float]:
    project = load_project(Path(__file__).parent)
    policy = project.policy(Preset.LOCAL)
    asked = Asked(project, Target(url, Preset.LOCAL), policy, 0.0, 1e9, _nothing_to_roll_back)
    happenings = watch(asked)
    samples = (each for each in happenings if isinstance(each, Seen))
    next(samples)
    found = connection.execute(
        "select pid from pg_stat_activity where application_name = 'pymilk watch'"
    ).fetchone()
    if found is None:
        raise AssertionError("the watch has a session")
    client, backend = time.process_time(), _cpu_seconds(found[0])
    held = [next(samples).taken.sample.held_seconds for _ in range(SAMPLES)]
    client, backend = time.process_time() - client, _cpu_seconds(found[0]) - backend
    return {
        "client": client / SAMPLES,
        "server": backend / SAMPLES,
        "both": (client + backend) / SAMPLES,
        "the snapshot is held": sum(held) / SAMPLES,
    }


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _nothing_to_roll_back(version: str) -> Plan:
    raise AssertionError(version)


if __name__ == "__main__":
    main()
