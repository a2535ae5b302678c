"""Payments to allocate and to record: what there is before, and who writes how.

Three ways to the same rows: the function; the bare writes, one prepared statement without any check
or trigger; and the app's statements, each a round trip of its own.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from independent.clients import CLIENTS, Session
from independent.server import SUPERUSER, Server, number, one

LINE = 100
"""Rupees on each invoice that a payment pays."""

DAY = "2025-09-17"

AS_APP = ("set role authenticated",)
"""The app's role."""


@dataclass(frozen=True)
class Task:
    """One payment that is put on invoices.

    Attributes:
        customer: Whose.
        payment: Its id; one that is yet to be recorded has none.
        invoices: What it pays, a line of 100 rupees each.
        left: What stays of it.
    """

    customer: str
    payment: str | None
    invoices: tuple[str, ...]
    left: int

    @property
    def amount(self) -> int:
        """Of the payment."""
        return self.applied + self.left

    @property
    def applied(self) -> int:
        """What goes onto the invoices."""
        return LINE * len(self.invoices)

    @property
    def status(self) -> str:
        """The payment's, afterwards."""
        return "partially_applied" if self.left else "fully_applied"

    @property
    def invoice_status(self) -> str:
        """Its invoices', afterwards: on each stays open what stays of the payment."""
        return "partially_paid" if self.left else "paid"


@dataclass(frozen=True)
class Layout:
    """What is there before.

    Attributes:
        tasks: Of each client.
        lines: Invoices that each payment pays.
        customers: How many there are; a client's tasks are of customers of its own, unless
            there is but one.
        recorded: Whether the payments are there already.
        clients: How many.
    """

    tasks: int
    lines: int = 1
    customers: int = 8 * CLIENTS
    recorded: bool = True
    clients: int = CLIENTS


def lay_out(server: Server, database: str, layout: Layout) -> list[list[Task]]:
    """Empty a database and put in what the tasks need: each its own invoices.

    Every second payment goes onto its invoices whole and pays them whole; the others keep 50 and
    leave 50 open on each invoice.
    """
    asked = {
        "customers": layout.customers,
        "clients": layout.clients,
        "tasks": layout.tasks,
        "lines": layout.lines,
        "line": LINE,
    }
    with server.connect(database, SUPERUSER) as session:
        session.execute("set session_replication_role = replica")
        with session.transaction():
            # Named one by one: where no foreign key is left, cascade finds nothing.
            for table in _TABLES:
                if one(session, "select to_regclass(%s)", [table]) is not None:
                    session.execute(f"truncate {table} cascade".encode())
            for statement in _PUT_IN:
                session.execute(statement.encode(), asked)
            rows = session.execute(
                "select client, customer_id, payment_id, invoices, left_over from task"
                " order by client, number"
            ).fetchall()
            if layout.recorded:
                session.execute(_PAYMENTS.encode(), {"applied": LINE * layout.lines})
        session.execute("vacuum (analyze) public.invoice_metadata, public.payments")
        session.execute("checkpoint")
    work: list[list[Task]] = [[] for _ in range(layout.clients)]
    for client, customer, payment, invoices, left in rows:
        recorded = str(payment) if layout.recorded else None
        work[client].append(Task(str(customer), recorded, tuple(map(str, invoices)), left))
    return work


_TABLES = (
    "public.invoice_payments",
    "public.unapplied_payments",
    "public.opening_balance_payments",
    "public.payments",
    "public.invoice_metadata",
    "public.customers",
    "public.audit_trail",
    "private.allocation_journal",
    "private.settlement_journal",
)

_PUT_IN = (
    """
    create temporary table person as
    select gen_random_uuid() as id, n - 1 as n from generate_series(1, %(customers)s) as n
    """,
    """
    insert into public.customers (id, billing_name)
    select id, 'Customer ' || n from person
    """,
    # Client 3's customers are 3, 11, 19 ...; where there is one customer, it is everybody's.
    """
    create temporary table task as
    select
      client, number, person.id as customer_id, gen_random_uuid() as payment_id,
      50 * (number %% 2) as left_over,
      array(
        select gen_random_uuid() from generate_series(1, %(lines)s) as line
        where line > number - number
      ) as invoices
    from generate_series(0, %(clients)s - 1) as client
    cross join generate_series(1, %(tasks)s) as number
    inner join person on person.n = (client + %(clients)s * number) %% %(customers)s
    """,
    """
    insert into public.invoice_metadata (
      id, invoice_number, customer_id, invoice_date, period_start, period_end, total_amount,
      subscription_amount, amount_outstanding, invoice_status, status, due_date
    )
    select
      id, 'N' || row_number() over (), task.customer_id, '2025-09-01', '2025-08-01',
      '2025-08-31', %(line)s + task.left_over, %(line)s + task.left_over,
      %(line)s + task.left_over, 'sent', 'Sent', '2999-01-01'
    from task
    cross join lateral unnest(task.invoices) as id
    """,
)

_PAYMENTS = """
with payment as (
  insert into public.payments (id, customer_id, amount, payment_date, amount_unapplied)
  select payment_id, customer_id, %(applied)s + left_over, '2025-09-17', %(applied)s + left_over
  from task
  returning id, customer_id, amount
)
insert into public.unapplied_payments (customer_id, payment_id, amount_unapplied)
select customer_id, id, amount from payment
"""


_LINE = """line as (
  select * from unnest(%(invoices)s::uuid[], %(amounts)s::numeric[]) as line (invoice_id, amount)
),
"""

_INVOICE = """
invoice as (
  update public.invoice_metadata as invoice
  set
    amount_paid = invoice.amount_paid + line.amount,
    amount_outstanding = invoice.amount_outstanding - line.amount,
    invoice_status = %(invoice_status)s,
    last_payment_date = %(day)s,
    updated_at = now()
  from line
  where invoice.id = line.invoice_id
),
"""

_WRITE_ALLOCATION = """
with {line}
allocation as (
  insert into public.invoice_payments (invoice_id, payment_id, amount_allocated)
  select invoice_id, %(payment)s, amount from line
),

{invoice}
{journal}

gone as (
  delete from public.unapplied_payments where payment_id = %(payment)s and %(left)s = 0
),

rest as (
  update public.unapplied_payments set amount_unapplied = %(left)s
  where payment_id = %(payment)s and %(left)s > 0
)

update public.payments
set
  amount_applied = %(applied)s, amount_unapplied = %(left)s, allocation_status = %(status)s,
  updated_at = now()
where id = %(payment)s
"""

_JOURNAL = """
journal as (
  insert into private.allocation_journal (
    recorded_by, call_id, payment_id, invoice_id, amount_change
  )
  select 'authenticated', gen_random_uuid(), %(payment)s, invoice_id, amount from line
),
"""

_WRITE_RECORD = """
with {line}
payment as (
  insert into public.payments (
    customer_id, amount, payment_date, payment_method, amount_applied, amount_unapplied,
    allocation_status
  )
  values (
    %(customer)s, %(amount)s, %(day)s, 'Bank Transfer', %(applied)s, %(left)s, %(status)s
  )
  returning *
),

allocation as (
  insert into public.invoice_payments (invoice_id, payment_id, amount_allocated)
  select line.invoice_id, payment.id, line.amount from line cross join payment
),

{invoice}
{journal}

rest as (
  insert into public.unapplied_payments (customer_id, payment_id, amount_unapplied)
  select customer_id, id, %(left)s from payment where %(left)s > 0
)

select id from payment
"""

_JOURNAL_AND_TRAIL = """
journal as (
  insert into private.allocation_journal (
    recorded_by, call_id, payment_id, invoice_id, amount_change
  )
  select 'authenticated', gen_random_uuid(), payment.id, line.invoice_id, line.amount
  from line cross join payment
),

trail as (
  insert into public.audit_trail (recorded_by, action, entity, entity_id, became, call_id)
  select 'authenticated', 'created', 'payment', id, to_jsonb(payment), gen_random_uuid()
  from payment
),
"""


def _bare(writes: str, journal: str) -> str:
    return writes.format(line=_LINE, invoice=_INVOICE, journal=journal)


ALLOCATE = _bare(_WRITE_ALLOCATION, _JOURNAL)
ALLOCATE_WITHOUT_JOURNAL = _bare(_WRITE_ALLOCATION, "")
RECORD = _bare(_WRITE_RECORD, _JOURNAL_AND_TRAIL)
RECORD_WITHOUT_JOURNAL = _bare(_WRITE_RECORD, "")
"""The bare writes: all rows that the function writes, or those that the app knows."""

_CALL_ALLOCATE = "select * from public.allocate_payment_atomic(%s, %s)"
_CALL_RECORD = "select * from public.record_payment_atomic(%s)"

_APP = {
    "payment": """
        insert into public.payments (
          customer_id, amount, payment_date, payment_method, allocation_status, amount_unapplied
        )
        values (%s, %s, %s, 'Bank Transfer', 'unapplied', %s) returning id
    """,
    "unapplied": """
        insert into public.unapplied_payments (customer_id, payment_id, amount_unapplied)
        values (%s, %s, %s)
    """,
    "allocation": """
        insert into public.invoice_payments (invoice_id, payment_id, amount_allocated)
        values (%s, %s, %s)
    """,
    "invoice": """
        update public.invoice_metadata
        set amount_paid = %s, amount_outstanding = %s, invoice_status = %s where id = %s
    """,
    "applied": """
        update public.payments
        set amount_applied = %s, amount_unapplied = %s, allocation_status = %s where id = %s
    """,
    "rest": "update public.unapplied_payments set amount_unapplied = %s where payment_id = %s",
    "gone": "delete from public.unapplied_payments where payment_id = %s",
}
"""What the app sends, each a transaction of its own; its amounts were read before."""


def _lines(task: Task) -> list[dict[str, object]]:
    return [{"invoiceId": invoice, "amount": LINE} for invoice in task.invoices]


def _payment(task: Task) -> dict[str, object]:
    return {
        "customer_id": task.customer,
        "amount": task.amount,
        "payment_date": DAY,
        # The others' limits are below what a thousand invoices come to.
        "payment_method": "Bank Transfer",
        "allocations": _lines(task),
    }


def allocate(session: Session, task: Task) -> None:
    """By the function."""
    session.trip(_CALL_ALLOCATE, [task.payment, json.dumps(_lines(task))])


def record(session: Session, task: Task) -> None:
    """By the function."""
    session.trip(_CALL_RECORD, [json.dumps(_payment(task))])


def rpc_allocate(session: Session, task: Task) -> None:
    """By the function, through PostgREST."""
    session.trip(
        "POST /rpc/allocate_payment_atomic",
        {"p_payment_id": task.payment, "p_allocations": _lines(task)},
    )


def rpc_record(session: Session, task: Task) -> None:
    """By the function, through PostgREST."""
    session.trip("POST /rpc/record_payment_atomic", {"p_payment": _payment(task)})


def write(statement: str, session: Session, task: Task) -> None:
    """By a bare statement."""
    session.trip(
        statement,
        {
            "customer": task.customer,
            "payment": task.payment,
            "invoices": list(task.invoices),
            "amounts": [LINE] * len(task.invoices),
            "amount": task.amount,
            "applied": task.applied,
            "left": task.left,
            "status": task.status,
            "invoice_status": task.invoice_status,
            "day": DAY,
        },
    )


def app_allocate(session: Session, task: Task) -> None:
    """By the app's statements."""
    for invoice in task.invoices:
        session.trip(_APP["allocation"], [invoice, task.payment, LINE])
        session.trip(_APP["invoice"], [LINE, task.left, task.invoice_status, invoice])
    session.trip(_APP["applied"], [task.applied, task.left, task.status, task.payment])
    if task.left:
        session.trip(_APP["rest"], [task.left, task.payment])
    else:
        session.trip(_APP["gone"], [task.payment])


def app_record(session: Session, task: Task) -> None:
    """By the app's statements: recorded first, then allocated."""
    answer = session.trip(_APP["payment"], [task.customer, task.amount, DAY, task.amount])
    if not isinstance(answer, tuple):
        raise TypeError(f"a row with an id, not {answer!r}")
    payment = str(answer[0])
    session.trip(_APP["unapplied"], [task.customer, payment, task.amount])
    app_allocate(session, replace(task, payment=payment))


def rest_allocate(session: Session, task: Task) -> None:
    """By the app's requests to PostgREST."""
    for invoice in task.invoices:
        session.trip(
            "POST /invoice_payments",
            {"invoice_id": invoice, "payment_id": task.payment, "amount_allocated": LINE},
        )
        session.trip(
            f"PATCH /invoice_metadata?id=eq.{invoice}",
            {
                "amount_paid": LINE,
                "amount_outstanding": task.left,
                "invoice_status": task.invoice_status,
            },
        )
    session.trip(
        f"PATCH /payments?id=eq.{task.payment}",
        {
            "amount_applied": task.applied,
            "amount_unapplied": task.left,
            "allocation_status": task.status,
        },
    )
    unapplied = f"/unapplied_payments?payment_id=eq.{task.payment}"
    if task.left:
        session.trip(f"PATCH {unapplied}", {"amount_unapplied": task.left})
    else:
        session.trip(f"DELETE {unapplied}", {})


def rest_record(session: Session, task: Task) -> None:
    """By the app's requests to PostgREST: recorded first, then allocated."""
    answer = session.trip(
        "POST /payments?select=id",
        {
            "customer_id": task.customer,
            "amount": task.amount,
            "payment_date": DAY,
            "payment_method": "Bank Transfer",
            "allocation_status": "unapplied",
            "amount_unapplied": task.amount,
        },
    )
    if not isinstance(answer, list):
        raise TypeError(f"a list of rows, not {answer!r}")
    payment = str(answer[0]["id"])
    session.trip(
        "POST /unapplied_payments",
        {"customer_id": task.customer, "payment_id": payment, "amount_unapplied": task.amount},
    )
    rest_allocate(session, replace(task, payment=payment))


def refuse_untrue(
    server: Server, database: str, work: Sequence[Sequence[Task]], *, kept: bool
) -> None:
    """Stop where the rows are not those that the tasks leave, whoever wrote them.

    Args:
        server: Where.
        database: Which.
        work: What was done, all of it.
        kept: Whether the journal was written as well.
    """
    tasks = [task for each in work for task in each]
    lines = sum(len(task.invoices) for task in tasks)
    applied = sum(task.applied for task in tasks)
    left = sum(task.left for task in tasks)
    keeping = sum(task.left > 0 for task in tasks)
    wanted = {
        "select count(*) from public.invoice_payments": lines,
        "select sum(amount_allocated) from public.invoice_payments": applied,
        "select sum(amount_paid) from public.invoice_metadata": applied,
        "select count(*) from public.payments": len(tasks),
        "select sum(amount_applied) from public.payments": applied,
        "select sum(amount_unapplied) from public.payments": left,
        "select count(*) from public.payments where allocation_status = 'partially_applied'": (
            keeping
        ),
        "select count(*) from public.unapplied_payments": keeping,
        "select coalesce(sum(amount_unapplied), 0) from public.unapplied_payments": left,
    }
    if kept:
        wanted["select count(*) from private.allocation_journal"] = lines
        if tasks[0].payment is None:
            wanted["select count(*) from public.audit_trail"] = len(tasks)
    with server.connect(database, SUPERUSER) as session:
        for query, value in wanted.items():
            found = number(session, query)
            if found != value:
                raise AssertionError(f"{database}: {query}: {found}, not {value}")
