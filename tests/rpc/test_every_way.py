"""One file for every way: what a call answers, refuses and fails with is the same on all."""

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from pymilk import errors, rpc
from pymilk.rpc import reading
from pymilk.rpc.bulk import logged
from pymilk.rpc.call import Call, Key, argument, given
from rpc.ways import Caller, Office, opened
from support.till import Till, new_customer


@dataclass(frozen=True)
class Echoed:
    """What `echo_all` answers."""

    texts: list[str]
    document: rpc.Json
    moment: dt.datetime
    day: dt.date
    flag: bool
    ratio: float


def allocate(till: Till, *amounts: Decimal | int) -> Call[rpc.AllocatePaymentAtomicResult]:
    return rpc.allocate_payment_atomic(
        payment_id=till.payment,
        allocations=[
            {"invoice_id": invoice, "amount": amount}
            for invoice, amount in zip(till.invoices, amounts, strict=False)
        ],
    )


def trip(code: str, times: int, key: Key = Key.OF_THIS_CALL) -> Call[int]:
    return Call(
        "trip",
        given(argument("p_code", "text", code), argument("p_times", "integer", times)),
        reading.value(reading.integer),
        key=key,
    )


def by_hand(name: str, *arguments: tuple[str, str, object]) -> Call[Any]:
    return Call(
        name,
        given(*(argument(*each) for each in arguments)),
        reading.value(reading.anything),
    )


def test_the_snippet_of_the_readme(caller: Caller, own_till: Till) -> None:
    done = caller.call(
        rpc.allocate_payment_atomic(
            payment_id=own_till.payment,
            allocations=[{"invoice_id": own_till.invoices[0], "amount": Decimal(300)}],
        ),
        idempotency_key=f"till-3/{own_till.payment}",
    )
    assert (done.allocated_amount, done.unapplied_amount) == (Decimal(300), Decimal(500))
    with pytest.raises(errors.AllocationExceedsPayment) as refused:
        caller.call(allocate(own_till, 100, 401))
    assert refused.value.detail["available"] == 500
    assert refused.value.hint


def test_an_allocation_is_answered_to_the_paisa(caller: Caller, own_till: Till) -> None:
    answer = caller.call(allocate(own_till, Decimal("300.10"), Decimal("0.20")))
    assert answer.success is True
    assert answer.total_allocated == Decimal("300.30")
    assert answer.unapplied_amount == Decimal("499.70")
    assert answer.allocation_status == "partially_applied"
    assert [(line.invoice_id, line.applied) for line in answer.applied] == [
        (own_till.invoices[0], Decimal("300.10")),
        (own_till.invoices[1], Decimal("0.20")),
    ]
    amounts = [answer.allocated_amount, answer.payment_amount, answer.applied[0].requested]
    assert all(type(amount) is Decimal for amount in amounts)


@pytest.mark.parametrize("amount", ["0.01", "9999999999.99", "-9999999999.99", "1234567890.10"])
def test_money_is_exact_there_and_back(caller: Caller, amount: str) -> None:
    call = Call(
        "echo",
        given(argument("p_amount", "numeric", Decimal(amount))),
        reading.value(reading.numeric),
    )
    assert str(caller.call(call)) == amount


def test_what_is_given_comes_back(caller: Caller) -> None:
    texts = ["Gauri's", 'a "b" \\ c', "दूध", ""]
    document = {"a": [1, "2", None, {"b": Decimal("0.10")}], "c": True}
    moment = dt.datetime(2025, 9, 16, 5, 30, 0, 123456, tzinfo=dt.UTC)
    call: Call[Any] = Call(
        "echo_all",
        given(
            argument("p_texts", "text[]", texts),
            argument("p_document", "jsonb", document),
            argument("p_moment", "timestamp with time zone", moment),
            argument("p_day", "date", moment.date()),
            argument("p_flag", "boolean", value=True),
            argument("p_ratio", "double precision", 1),
        ),
        reading.row(Echoed),
    )
    assert caller.call(call) == Echoed(
        texts=texts,
        document={"a": [1, "2", None, {"b": "0.10"}], "c": True},
        moment=moment,
        day=moment.date(),
        flag=True,
        ratio=1.0,
    )


def test_rows_come_as_a_list_and_none_as_an_empty_one(caller: Caller) -> None:
    assert caller.call(rpc.check_payment_invariants()) == []
    period = {"period_start": dt.date(2025, 9, 1), "period_end": dt.date(2025, 9, 30)}
    planned = caller.call(rpc.preview_bulk_invoices(**period, customer_ids=None))
    assert {type(row) for row in planned} == {rpc.PreviewBulkInvoicesRow}
    assert all(isinstance(row.total_amount, Decimal | None) for row in planned)


def test_void_is_none_and_null_is_none(caller: Caller, own_till: Till) -> None:
    assert caller.call(rpc.update_invoice_status(invoice_uuid=own_till.invoices[0])) is None
    assert caller.call(rpc.normalize_payment_method(method=" ")) is None
    assert caller.call(rpc.normalize_payment_method(method=None)) is None
    assert caller.call(rpc.normalize_payment_method(method="gpay")) == "UPI"


def test_what_is_left_out_is_the_databases_default(caller: Caller) -> None:
    log = caller.call(rpc.log_bulk_operation(operation="a test"))
    assert log.status == "running"
    done = caller.call(
        rpc.update_bulk_operation_status(
            id=log.id, status="completed", outcomes=[{"outcome": "invoiced"}]
        )
    )
    assert (done.succeeded, done.failed) == (1, 0)


def test_a_payment_with_all_that_it_pays(caller: Caller, own_till: Till) -> None:
    answer = caller.call(
        rpc.record_payment_atomic(
            payment={
                "customer_id": own_till.customer,
                "amount": Decimal("250.50"),
                "payment_date": dt.date(2025, 9, 16),
                "payment_method": "gpay",
                "allocations": [{"invoice_id": own_till.invoices[0], "amount": 200}],
            }
        )
    )
    assert answer.allocated_amount == 200
    assert answer.applied.invoices[0].invoice_id == own_till.invoices[0]
    assert answer.applied.sales == []
    undone = caller.call(
        rpc.unallocate_payment(payment_id=answer.payment_id, invoice_ids=None, reason=None)
    )
    assert undone.removed_amount == 200


def test_a_refusal_has_its_class_and_its_facts(caller: Caller, own_till: Till) -> None:
    with pytest.raises(errors.AllocationExceedsPayment) as refused:
        caller.call(allocate(own_till, 400, Decimal("500.5")))
    refusal = refused.value
    assert refusal.reason == "allocation_exceeds_payment"
    assert refusal.status == 409
    assert refusal.detail == {
        "payment_id": str(own_till.payment),
        "requested": Decimal("900.5"),
        "available": 800,
    }
    assert refusal.hint == "Allocate no more than what is left of the payment."
    assert "900.5" in str(refusal)
    assert refusal.idempotency_key


def test_a_refusal_that_nobody_knows_keeps_its_facts(caller: Caller) -> None:
    with pytest.raises(errors.Refusal) as refused:
        caller.call(by_hand("brew"))
    refusal = refused.value
    assert type(refusal) is errors.Refusal
    assert (refusal.reason, refusal.status, refusal.hint) == ("is_a_teapot", 418, "Ask for milk.")
    assert refusal.detail == {"litres": Decimal("0.50")}


def test_the_same_key_gives_the_first_answer_again(caller: Caller, own_till: Till) -> None:
    key = str(uuid4())
    assert caller.outcome(key).outcome == "unknown"
    first = caller.call(allocate(own_till, 300), idempotency_key=key)
    again = caller.call(allocate(own_till, 300), idempotency_key=key)
    assert again == first
    done = caller.outcome(key)
    assert (done.outcome, done.function_name) == ("done", "allocate_payment_atomic")
    assert allocate(own_till, 300).returns.read([done.answer]) == first
    with pytest.raises(errors.IdempotencyKeyReused):
        caller.call(allocate(own_till, 301), idempotency_key=key)
    undone = caller.call(
        rpc.rollback_partial_allocation(payment_id=own_till.payment), idempotency_key=key
    )
    assert undone.removed_amount == 300
    assert caller.outcome(key).outcome == "undone"
    with pytest.raises(errors.RequestUndone):
        caller.call(allocate(own_till, 300), idempotency_key=key)


def test_a_key_for_a_function_that_knows_none_is_an_error(caller: Caller) -> None:
    with pytest.raises(ValueError, match="knows no idempotency keys"):
        caller.call(rpc.next_invoice_number(financial_year="202526"), idempotency_key="1")
    with pytest.raises(ValueError, match="can't be empty"):
        caller.call(rpc.request_outcome(key="1"), idempotency_key="")


@pytest.mark.parametrize(
    ("code", "kind"),
    [("40001", errors.WriteConflict), ("40P01", errors.Deadlock), ("55P03", errors.LockTimeout)],
)
def test_what_passes_is_tried_again(
    way: str, caller: Caller, office: Office, code: str, kind: type[errors.PymilkError]
) -> None:
    owner = office.database.connect(autocommit=True)
    owner.execute("alter sequence public.trips restart")
    assert caller.call(trip(code, 2)) == 3
    if way.startswith("supabase") and code == "40001":
        return  # PostgREST repeats it itself, and without end: see test_supabase
    owner.execute("alter sequence public.trips restart")
    with pytest.raises(kind) as failed:
        caller.call(trip(code, 2, Key.NOT_TAKEN))
    assert failed.value.idempotency_key is None


def test_attempts_are_bounded(caller: Caller, office: Office) -> None:
    owner = office.database.connect(autocommit=True)
    owner.execute("alter sequence public.trips restart")
    with pytest.raises(errors.LockTimeout):
        caller.call(trip("55P03", 100), idempotency_key="bounded")
    assert owner.execute("select last_value from public.trips").fetchone() == (4,)


def test_what_the_database_says_by_itself(caller: Caller) -> None:
    with pytest.raises(errors.ExceptionRaised, match="Not enough milk") as shouted:
        caller.call(by_hand("shout"))
    assert shouted.value.hint == "Wait for the morning."
    with pytest.raises(errors.DatabaseError, match="division by zero") as halved:
        caller.call(by_hand("halve"))
    assert halved.value.sqlstate == "22012"
    with pytest.raises(errors.DatabaseError, match="other_half") as half:
        caller.call(by_hand("half"))
    assert type(half.value) is errors.DatabaseError
    with pytest.raises(errors.TimedOut):
        caller.call(trip("57014", 10**9, Key.NOT_TAKEN))
    with pytest.raises(errors.ConstraintBroken):
        caller.call(trip("23514", 10**9, Key.NOT_TAKEN))


def test_a_function_that_is_not_there_and_one_that_is_there_twice(caller: Caller) -> None:
    with pytest.raises(errors.FunctionMissing):
        caller.call(by_hand("nowhere"))
    with pytest.raises(errors.FunctionMissing):
        caller.call(by_hand("echo", ("p_sum", "numeric", 1)))
    with pytest.raises(errors.FunctionAmbiguous):
        caller.call(by_hand("twins", ("a", "integer", 1)))


def test_an_answer_of_another_shape_is_told(caller: Caller) -> None:
    with pytest.raises(errors.UnexpectedAnswer, match="found 'soon'"):
        caller.call(Call("soon", (), reading.value(reading.day)))


def test_an_answer_that_python_can_not_hold_is_told(caller: Caller) -> None:
    with pytest.raises(errors.UnexpectedAnswer, match="found b'1000"):
        caller.call(by_hand("many_digits"))


def test_who_may_not_is_told(way: str, office: Office, own_till: Till) -> None:
    with opened(way, office, "anon") as nobody, pytest.raises(errors.NotAllowed) as refused:
        nobody.call(allocate(own_till, 1))
    assert refused.value.sqlstate == "42501"


def test_staff_may(way: str, office: Office, own_till: Till) -> None:
    with opened(way, office, "authenticated") as staff:
        assert staff.call(allocate(own_till, 1)).allocated_amount == 1
        assert staff.call(by_hand("caller")) == "authenticated"
        with pytest.raises(errors.NotAllowed):
            staff.call(rpc.fix_unapplied_payments_inconsistencies())


def test_what_python_can_not_say_exactly_is_refused_at_once(own_till: Till) -> None:
    with pytest.raises(TypeError, match="amounts are Decimal"):
        rpc.allocate_payment_atomic(
            payment_id=own_till.payment,
            allocations=[{"invoice_id": own_till.invoices[0], "amount": 0.3}],  # type: ignore[typeddict-item]
        )


def test_a_bulk_run_has_its_log_around_it(caller: Caller, office: Office) -> None:
    owner = office.database.connect(autocommit=True)
    first, last = dt.date(2025, 8, 1), dt.date(2025, 8, 31)
    customer = new_customer(owner)
    logs = "select status, succeeded, failed, error, parameters from public.bulk_operation_logs"
    owner.execute("truncate public.bulk_operation_logs")

    done = caller.calls(
        logged(
            rpc.generate_bulk_invoices_atomic(
                period_start=first, period_end=last, customer_ids=[customer]
            )
        )
    )
    assert (done.invoices_created, done.skipped) == (0, 1)
    ((status, succeeded, failed, error, parameters),) = owner.execute(logs).fetchall()
    assert (status, error) == ("completed", None)
    assert (succeeded, failed) == (done.invoices_created, done.skipped)
    assert parameters["p_customer_ids"] == [str(customer)]

    owner.execute("truncate public.bulk_operation_logs")
    with pytest.raises(errors.CustomerNotFound):
        caller.calls(
            logged(
                rpc.generate_bulk_invoices_atomic(
                    period_start=first, period_end=last, customer_ids=[uuid4()]
                )
            )
        )
    ((status, succeeded, failed, error, _),) = owner.execute(logs).fetchall()
    assert status == "failed"
    assert "Customer not found" in error
