"""A failed call is reported apart, best effort; the call's own error is what the caller gets."""

import time
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pymilk import Client, errors, rpc
from pymilk.deploy.health.counters import read_outcomes
from pymilk.project.project import load_project
from pymilk.rpc.call import Rows
from pymilk.rpc.lending import Postgres
from pymilk.rpc.protocol import Exchange, Retry
from pymilk.rpc.reporting import Report, Reporting, Reports
from rpc.ways import WAYS, Office, opened
from support.databases import ROOT, Database
from support.flaky import Break, flaky
from support.gateway import Fault
from support.till import Till

TOLD = (
    "select function_name, reason, payment_id, idempotency_key, detail, reported_by"
    " from public.failed_allocations where payment_id = %s order by id"
)
ONCE = Retry(attempts=1)


@pytest.fixture
def till(own_till: Till) -> Till:
    return own_till


def too_much(till: Till) -> rpc.Call[rpc.AllocatePaymentAtomicResult]:
    return rpc.allocate_payment_atomic(
        payment_id=till.payment, allocations=[{"invoice_id": till.invoices[0], "amount": 900}]
    )


def a_bit(till: Till) -> rpc.Call[rpc.AllocatePaymentAtomicResult]:
    return rpc.allocate_payment_atomic(
        payment_id=till.payment, allocations=[{"invoice_id": till.invoices[0], "amount": 1}]
    )


def reports(till: Till) -> list[tuple[object, ...]]:
    with psycopg.connect(till.database.url) as session:
        return session.execute(TOLD.encode(), [till.payment]).fetchall()


def call_of(report: Report) -> rpc.Call[None]:
    """The call that tells it."""
    return Reports(Reporting()).call_of(report)


def told(till: Till) -> list[tuple[object, object]]:
    """The reason and the key of each report."""
    return [(reason, key) for _, reason, _, key, _, _ in reports(till)]


@pytest.mark.parametrize("role", ["authenticated", "service_role"])
def test_a_refusal_is_written_down(way: str, role: str, office: Office, till: Till) -> None:
    with opened(way, office, role, reporting=Reporting()) as client:
        with pytest.raises(errors.Refusal) as refused:
            client.call(too_much(till), idempotency_key=f"till/{way}")
        ((function, reason, payment, key, detail, by),) = reports(till)
        client.call(rpc.business_today())
    assert (function, reason) == ("allocate_payment_atomic", refused.value.reason)
    assert (payment, key, by) == (till.payment, f"till/{way}", role)
    assert isinstance(detail, Mapping)
    assert detail.keys() == refused.value.detail.keys()
    with psycopg.connect(till.database.url, autocommit=True) as session:
        read = read_outcomes(session, load_project(ROOT).outcomes)
    assert read.outcomes["failed_allocations"][f"{function}: {reason}"] >= 1
    assert len(reports(till)) == 1


def test_of_the_databases_own_error_the_sqlstate_is_told_and_not_what_it_quotes(
    way: str, office: Office, till: Till
) -> None:
    wrong = replace(a_bit(till), function="no_such_function")
    with (
        opened(way, office, reporting=Reporting()) as client,
        pytest.raises(errors.FunctionMissing) as missing,
    ):
        client.call(wrong)
    ((function, reason, *_, detail, _),) = reports(till)
    assert (function, reason) == ("no_such_function", missing.value.sqlstate)
    assert detail == {}


def test_what_somebody_typed_is_not_kept(way: str, office: Office) -> None:
    with (
        opened(way, office, reporting=Reporting()) as client,
        pytest.raises(errors.PaymentMethodUnknown) as refused,
    ):
        client.call(rpc.normalize_payment_method(method="as Ramesh said"))
    assert refused.value.detail["given"] == "as Ramesh said"
    with psycopg.connect(office.database.url) as session:
        newest = session.execute(
            "select function_name, detail from public.failed_allocations order by id desc limit 1"
        ).fetchone()
    assert newest == ("normalize_payment_method", {})


def test_a_call_whose_answer_never_came_is_told_with_the_next_one(till: Till) -> None:
    cuts = [Break.AFTER]
    with (
        flaky(till.database.url, lambda: cuts.pop() if cuts else None) as between,
        Client.postgres(between.url, retry=ONCE, reporting=Reporting()) as client,
    ):
        with pytest.raises(errors.OutcomeUnknown):
            client.call(a_bit(till), idempotency_key="till/lost")
        assert reports(till) == []
        client.call(rpc.business_today())
        ((function, reason, _, key, _, _),) = reports(till)
        assert client.outcome("till/lost").outcome == "done"
    assert (function, reason, key) == ("allocate_payment_atomic", "outcome_unknown", "till/lost")
    assert len(reports(till)) == 1


def test_or_when_the_client_is_closed(till: Till) -> None:
    cuts = [Break.AFTER]
    with flaky(till.database.url, lambda: cuts.pop() if cuts else None) as between:
        with Client.postgres(between.url, retry=ONCE, reporting=Reporting()) as client:
            with pytest.raises(errors.OutcomeUnknown):
                client.call(a_bit(till), idempotency_key="till/lost")
            assert reports(till) == []
        assert told(till) == [("outcome_unknown", "till/lost")]


@pytest.mark.parametrize("fault", [Fault.CUT_AFTER, Fault.PAGE_AFTER])
@pytest.mark.parametrize("way", WAYS[2:])
def test_so_it_is_over_the_api(way: str, fault: Fault, api_office: Office, till: Till) -> None:
    assert api_office.gateway is not None
    with opened(way, api_office, retry=ONCE, reporting=Reporting()) as client:
        api_office.gateway.next(fault)
        with pytest.raises(errors.OutcomeUnknown) as lost:
            client.call(a_bit(till), idempotency_key="till/lost")
        assert reports(till) == []
    assert told(till) == [(lost.value.reason, "till/lost")]


def test_a_report_that_comes_late_says_so(till: Till) -> None:
    report = Report(a_bit(till), errors.OutcomeUnknown(), "k", time.monotonic() - 7)
    with Client.postgres(till.database.url) as client:
        client.call(call_of(report))
    ((*_, detail, _),) = reports(till)
    assert detail == {"seconds_late": 7}


def test_what_an_error_quotes_does_not_leave_the_client(till: Till) -> None:
    # Postgres's own detail of a broken constraint is the row: "Failing row contains (Ramesh, …".
    error = errors.ConstraintBroken("23514", "no", detail={"detail": "(Ramesh, 98200)"})
    said = {each.name: each.value for each in call_of(Report(a_bit(till), error, None)).arguments}
    assert (said["p_reason"], said["p_detail"]) == ("23514", {})


def test_what_was_lost_and_then_settled_is_no_failure(till: Till) -> None:
    cuts = [Break.AFTER]
    with (
        flaky(till.database.url, lambda: cuts.pop() if cuts else None) as between,
        Client.postgres(between.url, reporting=Reporting()) as client,
    ):
        assert client.call(a_bit(till)).allocated_amount == Decimal(1)
        assert between.cuts == 1
    assert reports(till) == []


class Switched:
    """A way to the database that can be switched off."""

    repeatable = True

    def __init__(self, url: str) -> None:
        self.on = False
        self._way = Postgres(url, None)

    def execute(self, exchange: Exchange) -> Rows:
        """Make one attempt at a call."""
        if not self.on:
            raise errors.NotConnected("switched off")
        return self._way.execute(exchange)

    def close(self) -> None:
        """Let go of what it holds."""
        self._way.close()


def test_where_no_database_is_reached_it_is_told_later_up_to_a_number(till: Till) -> None:
    way = Switched(till.database.url)
    with Client(way, ONCE, Reporting(kept=2)) as client:
        for number in range(3):
            with pytest.raises(errors.NotConnected):
                client.call(a_bit(till), idempotency_key=f"till/{number}")
        way.on = True
        client.call(rpc.business_today())
    assert told(till) == [("not_connected", "till/1"), ("not_connected", "till/2")]


def test_an_outcome_that_stays_in_doubt_is_told_as_what_its_caller_got(till: Till) -> None:
    # Cut at the first attempt, refused a lock at the second: written or not, nobody knows.
    cuts = [Break.BEFORE]
    with (
        psycopg.connect(till.database.url) as holder,
        flaky(till.database.url, lambda: cuts.pop() if cuts else None) as between,
        Client.postgres(
            make_conninfo(between.url, options="-c lock_timeout=50ms"),
            retry=Retry(attempts=2, shortest=0.001),
            reporting=Reporting(),
        ) as client,
    ):
        holder.execute("select from public.payments where id = %s for update", [till.payment])
        with pytest.raises(errors.OutcomeUnknown):
            client.call(a_bit(till))
        assert [reason for reason, _ in told(till)] == ["outcome_unknown"]


def test_where_it_cannot_be_written_the_call_fails_as_it_would(
    way: str, office: Office, till: Till
) -> None:
    nowhere = Reporting(function="no_such_function")
    with opened(way, office, reporting=nowhere) as client:
        with pytest.raises(errors.Refusal) as refused:
            client.call(too_much(till))
        assert refused.value.reason != "function_missing"
        client.call(rpc.business_today())
    assert reports(till) == []


def test_by_itself_a_client_reports_nothing(till: Till) -> None:
    with Client.postgres(till.database.url) as client, pytest.raises(errors.Refusal):
        client.call(too_much(till))
    assert reports(till) == []


def test_in_somebodys_transaction_nothing_is_reported(till: Till) -> None:
    with psycopg.connect(till.database.url) as session:
        client = Client.postgres(session, reporting=Reporting())
        with pytest.raises(errors.Refusal):
            client.call(too_much(till))
        session.commit()
        client.close()
    assert reports(till) == []


def test_a_dry_run_is_not_reported(till: Till) -> None:
    client = Client.postgres(till.database.url, reporting=Reporting())
    with client, pytest.raises(errors.Refusal):
        client.call(too_much(till), dry_run=True)
    assert reports(till) == []


def test_before_the_table_is_there_a_watch_says_so(dairy_010: Database) -> None:
    read = read_outcomes(dairy_010.connect(autocommit=True), load_project(ROOT).outcomes)
    assert read.outcomes == {}
    assert "does not exist" in read.lacking["outcomes/failed_allocations"]
