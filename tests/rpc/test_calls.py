"""What the functions answer and refuse, as a Python caller gets it."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from uuid import UUID, uuid4

import pytest

from pymilk import Client, errors, rpc
from support.till import Connection, Till

Allocate = Callable[..., rpc.AllocatePaymentAtomicResult]


@pytest.fixture
def allocate(client: Client, shared_till: Till) -> Allocate:
    """Allocates the till's payment: pairs of invoice and amount."""

    def call(
        *lines: tuple[UUID, Decimal | int | str],
        payment: UUID = shared_till.payment,
        key: str = "1",
    ) -> rpc.AllocatePaymentAtomicResult:
        allocations = [rpc.Allocation(invoice, amount) for invoice, amount in lines]
        return client.call(
            rpc.allocate_payment_atomic(payment_id=payment, allocations=allocations),
            idempotency_key=key,
        )

    return call


def test_an_allocation_is_answered_to_the_paisa(allocate: Allocate, shared_till: Till) -> None:
    small, large = shared_till.invoices
    assert allocate((small, Decimal("300.10")), (large, "0.20")) == rpc.AllocatePaymentAtomicResult(
        success=True,
        allocated_amount=Decimal("300.30"),
        total_allocated=Decimal("300.30"),
        payment_amount=Decimal(800),
        unapplied_amount=Decimal("499.70"),
        allocation_status="partially_applied",
        applied=(
            rpc.AppliedAllocation(small, Decimal("300.10"), Decimal("300.10")),
            rpc.AppliedAllocation(large, Decimal("0.20"), Decimal("0.20")),
        ),
    )


def test_every_amount_is_a_decimal(allocate: Allocate, shared_till: Till) -> None:
    answer = allocate((shared_till.invoices[0], 300))
    amounts = [answer.allocated_amount, answer.payment_amount, answer.applied[0].requested]
    assert all(type(amount) is Decimal for amount in amounts)


def test_the_largest_amount_arrives_as_it_is(
    client: Client, connection: Connection, shared_till: Till
) -> None:
    amount = Decimal("9999999999.99")
    connection.execute("update public.payments set amount = %s", [amount])
    connection.execute("update public.invoice_metadata set total_amount = %s", [amount])
    answer = client.call(
        rpc.allocate_payment_atomic(
            payment_id=shared_till.payment,
            allocations=[rpc.Allocation(shared_till.invoices[0], amount)],
        )
    )
    assert answer.total_allocated == amount
    assert answer.unapplied_amount == 0


def test_amounts_that_are_not_validated_are_cut(client: Client, shared_till: Till) -> None:
    small, large = shared_till.invoices
    answer = client.call(
        rpc.allocate_payment_atomic(
            payment_id=str(shared_till.payment),
            allocations=[rpc.Allocation(small, 600), rpc.Allocation(str(large), 600)],
            validate_amounts=False,
        )
    )
    assert [line.requested for line in answer.applied] == [Decimal(600), Decimal(600)]
    assert [line.applied for line in answer.applied] == [Decimal(500), Decimal(300)]
    assert answer.allocation_status == "fully_applied"


def test_a_float_is_no_amount() -> None:
    with pytest.raises(TypeError, match="amounts are Decimal"):
        rpc.allocate_payment_atomic(
            payment_id=uuid4(),
            allocations=[rpc.Allocation(uuid4(), 0.3)],  # type: ignore[arg-type] # the point
        )


def test_more_than_the_payment_is_refused(allocate: Allocate, shared_till: Till) -> None:
    with pytest.raises(errors.AllocationExceedsPayment) as refused:
        allocate((shared_till.invoices[1], Decimal("900.5")))
    refusal = refused.value
    assert refusal.reason == "allocation_exceeds_payment"
    assert refusal.status == 409
    assert refusal.detail == {
        "payment_id": str(shared_till.payment),
        "requested": Decimal("900.5"),
        "available": 800,
    }
    assert refusal.hint == "Allocate no more than what is left of the payment."
    assert "more than is left of the payment" in str(refusal)
    assert "900.5" in str(refusal)


def test_more_than_the_invoice_is_refused(allocate: Allocate, shared_till: Till) -> None:
    with pytest.raises(errors.AllocationExceedsInvoice) as refused:
        allocate((shared_till.invoices[0], 501))
    assert refused.value.detail["available"] == 500


def test_every_other_refusal_has_its_class(
    allocate: Allocate, client: Client, connection: Connection, shared_till: Till
) -> None:
    small, large = shared_till.invoices
    connection.execute(
        "update public.invoice_metadata set invoice_status = 'cancelled' where id = %s", [large]
    )
    allocate((small, 1), key="used")

    with pytest.raises(errors.AllocationsEmpty):
        allocate()
    with pytest.raises(errors.AmountInvalid):
        allocate((small, Decimal("0.001")))
    with pytest.raises(errors.AmountInvalid):
        allocate((small, Decimal("NaN")))
    with pytest.raises(errors.AmountInvalid):
        allocate((small, "1; drop table payments"))
    with pytest.raises(errors.InvoiceNamedTwice):
        allocate((small, 1), (small, 1))
    with pytest.raises(errors.PaymentNotFound):
        allocate((small, 1), payment=uuid4())
    with pytest.raises(errors.InvoiceNotFound):
        allocate((uuid4(), 1))
    with pytest.raises(errors.InvoiceCancelled):
        allocate((large, 1))
    with pytest.raises(errors.CustomerMismatch):
        allocate((shared_till.stranger, 1))
    with pytest.raises(errors.PaymentWithoutCustomer):
        allocate((small, 1), payment=shared_till.nobody)
    with pytest.raises(errors.IdempotencyKeyReused):
        allocate((small, 2), key="used")
    with pytest.raises(errors.IdempotencyKeyInvalid):
        allocate((small, 1), key="x" * 201)
    with pytest.raises(errors.IdempotencyKeyInvalid):
        client.call(rpc.request_outcome(key=" "))


@pytest.mark.parametrize(
    ("argument", "value", "kind"),
    [
        ("p_payment_id", None, errors.PaymentRequired),
        ("p_allocations", {"invoiceId": "x"}, errors.AllocationsNotAList),
        ("p_allocations", [{"amount": 1}], errors.AllocationMalformed),
    ],
)
def test_what_the_types_forbid_is_refused_as_well(
    client: Client, shared_till: Till, argument: str, value: rpc.Json, kind: type[errors.Refusal]
) -> None:
    call = rpc.allocate_payment_atomic(payment_id=shared_till.payment, allocations=[])
    arguments = [
        replace(each, value=value) if each.name == argument else each for each in call.arguments
    ]
    with pytest.raises(kind):
        client.call(replace(call, arguments=tuple(arguments)))


def test_a_call_that_was_undone_is_refused(
    allocate: Allocate, client: Client, connection: Connection, shared_till: Till
) -> None:
    allocate((shared_till.invoices[0], 1), key="till-3/0042")
    connection.execute("update private.request_keys set undone_at = now()")
    with pytest.raises(errors.RequestUndone):
        allocate((shared_till.invoices[0], 1), key="till-3/0042")
    assert client.call(rpc.request_outcome(key="till-3/0042")).outcome == "undone"


def test_a_refusal_that_this_client_does_not_know_keeps_its_facts(
    client: Client, connection: Connection
) -> None:
    connection.execute("""
      create function public.brew() returns void language plpgsql as $$
      begin
        raise exception using errcode = 'PT418', message = 'is_a_teapot',
          detail = '{"litres": 0.50}', hint = 'Ask for milk.';
      end $$
    """)
    with pytest.raises(errors.Refusal) as refused:
        client.call(rpc.Call("brew", (), lambda rows: rows))
    refusal = refused.value
    assert type(refusal) is errors.Refusal
    assert (refusal.reason, refusal.status, refusal.hint) == ("is_a_teapot", 418, "Ask for milk.")
    assert refusal.detail == {"litres": Decimal("0.50")}
    assert "is_a_teapot" in str(refusal)


@pytest.mark.parametrize("detail", ["half a litre", "[1]", "0.5"])
def test_a_detail_that_is_no_object_is_kept_as_text(
    client: Client, connection: Connection, detail: str
) -> None:
    connection.execute(f"""
      create function public.brew() returns void language plpgsql as $$
      begin
        raise exception using errcode = 'PT400', message = 'amount_invalid', detail = '{detail}';
      end $$
    """)
    with pytest.raises(errors.AmountInvalid) as refused:
        client.call(rpc.Call("brew", (), lambda rows: rows))
    assert refused.value.detail == {"detail": detail}


def test_today_is_a_date(client: Client, connection: Connection) -> None:
    expected = connection.execute("select public.business_today()").fetchone()
    assert expected == (client.call(rpc.business_today()),)


def test_broken_invariants_come_as_rows(till: Till) -> None:
    # Only the superuser can bring the books out of step, by switching the triggers off.
    superuser = till.database.connect(user="supabase_admin")
    client = Client.postgres(superuser)
    assert client.call(rpc.check_payment_invariants()) == ()

    superuser.execute("set session_replication_role = replica")
    superuser.execute(
        "update public.payments set amount_unapplied = 1 where id = %s", [till.payment]
    )
    faults = client.call(rpc.check_payment_invariants())

    assert ("payment_totals_true", "payment", str(till.payment)) in [
        (fault.invariant, fault.entity, fault.entity_id) for fault in faults
    ]
    assert "1 unapplied" in str(faults[0].found)


def test_the_outcome_of_a_request_can_be_asked_for(
    allocate: Allocate, client: Client, shared_till: Till
) -> None:
    unknown = client.call(rpc.request_outcome(key="till-3/0042"))
    answer = allocate((shared_till.invoices[0], Decimal("300.30")), key="till-3/0042")
    done = client.call(rpc.request_outcome(key="till-3/0042"))

    assert unknown == rpc.RequestOutcomeResult("unknown", None, None, None)
    assert (done.outcome, done.function_name) == ("done", "allocate_payment_atomic")
    assert done.recorded_at is not None
    assert done.recorded_at.tzinfo is not None
    # The same call reads its result from the answer that was kept.
    call = rpc.allocate_payment_atomic(payment_id=shared_till.payment, allocations=[])
    assert call.read([done.answer]) == answer
