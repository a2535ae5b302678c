"""A failed call is reported apart, best effort; the call's own error is what the caller gets."""

from collections.abc import Iterator

import psycopg
import pytest

from pymilk import Client, errors, rpc
from pymilk.database.catalog import read_catalog
from pymilk.deploy.counters import read_outcomes
from pymilk.project.project import load_project
from pymilk.rpc.reporting import Reporting
from rpc.ways import Office, lent, open_office, opened
from support.databases import ROOT, Database, Templates
from support.till import Till, open_till

TEMPLATE = ROOT / "docs" / "templates" / "failed_allocations.sql"
TABLE = "select function_name, reason, payment_id, idempotency_key, detail, reported_by"


@pytest.fixture(scope="module")
def reporting_office(templates: Templates) -> Iterator[Office]:
    """Everything deployed, and the table that failures are reported into."""
    with open_office(templates, TEMPLATE) as office:
        yield office


@pytest.fixture
def till(reporting_office: Office, numbers: Iterator[int]) -> Iterator[Till]:
    with lent(reporting_office) as office:
        yield open_till(office.database, next(numbers))


def too_much(till: Till) -> rpc.Call[rpc.AllocatePaymentAtomicResult]:
    return rpc.allocate_payment_atomic(
        payment_id=till.payment, allocations=[{"invoice_id": till.invoices[0], "amount": 900}]
    )


def reports(till: Till) -> list[tuple[object, ...]]:
    with psycopg.connect(till.database.url) as session:
        return session.execute(
            f"{TABLE} from public.failed_allocations where payment_id = %s order by id",
            [till.payment],
        ).fetchall()


def test_a_refusal_is_written_down(way: str, reporting_office: Office, till: Till) -> None:
    with opened(way, reporting_office, reporting=Reporting()) as client:
        with pytest.raises(errors.Refusal) as refused:
            client.call(too_much(till), idempotency_key=f"till/{way}")
        client.call(rpc.business_today())
    ((function, reason, payment, key, detail, by),) = reports(till)
    assert (function, reason) == ("allocate_payment_atomic", refused.value.reason)
    assert (payment, key) == (till.payment, f"till/{way}")
    assert isinstance(detail, dict)
    assert detail.keys() == refused.value.detail.keys()
    assert by == "service_role"
    with psycopg.connect(till.database.url, autocommit=True) as session:
        read = read_outcomes(session, load_project(ROOT).outcomes)
    assert read.outcomes["failed_allocations"][f"{function}: {reason}"] >= 1


def test_where_it_cannot_be_written_the_call_fails_as_it_would(
    way: str, reporting_office: Office, till: Till
) -> None:
    nowhere = Reporting(function="no_such_function")
    with opened(way, reporting_office, reporting=nowhere) as client:
        with pytest.raises(errors.Refusal) as refused:
            client.call(too_much(till))
        assert refused.value.reason != "function_missing"
        client.call(rpc.business_today())
    assert reports(till) == []


def test_by_itself_a_client_reports_nothing(way: str, reporting_office: Office, till: Till) -> None:
    with opened(way, reporting_office) as client, pytest.raises(errors.Refusal):
        client.call(too_much(till))
    assert reports(till) == []


def test_in_somebodys_transaction_nothing_is_reported(till: Till) -> None:
    with psycopg.connect(till.database.url) as session:
        client = Client.postgres(session, reporting=Reporting())
        with pytest.raises(errors.Refusal):
            client.call(too_much(till))
        session.commit()
    assert reports(till) == []


def test_a_dry_run_is_not_reported(till: Till) -> None:
    client = Client.postgres(till.database.url, reporting=Reporting())
    with client, pytest.raises(errors.Refusal):
        client.call(too_much(till), dry_run=True)
    assert reports(till) == []


def test_strangers_neither_report_nor_read(reporting_office: Office) -> None:
    report = "select public.report_failed_allocation('f', 'r')"
    with reporting_office.database.lent() as database:
        for statement in (report, "select from public.failed_allocations"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                database.connect(role="anon").execute(statement.encode())
        clerk = database.connect(role="authenticated")
        clerk.execute(report.encode())
        for statement in (
            "delete from public.failed_allocations",
            "update public.failed_allocations set reported_by = 'somebody else'",
            "insert into public.failed_allocations default values",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), clerk.transaction():
                clerk.execute(statement.encode())


def test_before_the_table_is_there_a_watch_says_so(dairy_hardened: Database) -> None:
    read = read_outcomes(dairy_hardened.connect(autocommit=True), load_project(ROOT).outcomes)
    assert read.outcomes == {}
    assert "does not exist" in read.lacking["outcomes/failed_allocations"]


def test_the_templates_rollback_leaves_nothing(dairy_hardened: Database) -> None:
    text = TEMPLATE.read_text(encoding="utf-8")
    rollback = [line.removeprefix("--   ") for line in text.splitlines() if "--   drop" in line]
    session = dairy_hardened.connect(autocommit=True)
    before = read_catalog(session)
    session.execute(text.encode())
    assert before.difference(read_catalog(session))
    session.execute("\n".join(rollback).encode())
    assert not before.difference(read_catalog(session))
