"""Ten thousand calls, one connection in ten is cut: the money moved is what callers were told."""

import random
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from pymilk import Client, errors, rpc
from pymilk.rpc.protocol import Retry
from support.databases import Database
from support.flaky import Break, flaky
from support.till import Till, open_till

CALLS = 10_000
THREADS = 4
PATIENT = Retry(attempts=8, shortest=0.0005, longest=0.005)
HASTY = Retry(attempts=1)


@pytest.mark.long
@pytest.mark.parametrize("retry", [PATIENT, HASTY], ids=["repeated", "asked"])
def test_what_was_told_is_what_was_moved(dairy_001: Database, retry: Retry) -> None:
    till, chance = open_till(dairy_001), random.Random(42)  # noqa: S311 - for cuts
    owner = dairy_001.connect(autocommit=True)
    owner.execute("update public.payments set amount = 1000000 where id = %s", [till.payment])
    owner.execute("update public.invoice_metadata set total_amount = 1000000")

    # Whoever only asks can be told "unknown" before a call arrives that is still on its way to the
    # server: that is settled by making it again.
    breaks = list(Break) if retry is PATIENT else [Break.BEFORE, Break.DURING, Break.AFTER]

    def pick() -> Break | None:
        return chance.choice(breaks) if chance.random() < 0.1 else None

    with flaky(dairy_001.url, pick) as between, ThreadPoolExecutor(THREADS) as threads:
        shares = [
            threads.submit(_pay, between.url, till, number, retry) for number in range(THREADS)
        ]
        told = sum((share.result() for share in shares), Decimal(0))
        cuts = between.cuts

    assert cuts > CALLS // 20
    row = owner.execute(
        "select amount_applied from public.payments where id = %s", [till.payment]
    ).fetchone()
    assert row == (told,)
    if retry is PATIENT:
        assert told == Decimal(CALLS) / 100


def _pay(url: str, till: Till, number: int, retry: Retry) -> Decimal:
    """Pay a paisa so many times; gives what was told to be paid in the end."""
    told = Decimal(0)
    call = rpc.allocate_payment_atomic(
        payment_id=till.payment,
        allocations=[{"invoice_id": till.invoices[number % 2], "amount": Decimal("0.01")}],
    )
    with Client.postgres(url, retry=retry) as client:
        for _ in range(CALLS // THREADS):
            try:
                told += client.call(call).allocated_amount
            except errors.OutcomeUnknown as lost:
                told += _asked(client, lost)
            except errors.NotConnected:
                pass  # nothing was sent
    return told


def _asked(client: Client, lost: errors.OutcomeUnknown) -> Decimal:
    assert lost.idempotency_key is not None
    while True:
        try:
            outcome = client.outcome(lost.idempotency_key)
        except errors.ConnectionLost:
            continue
        return Decimal("0.01") if outcome.outcome == "done" else Decimal(0)
