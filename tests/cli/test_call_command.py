"""`pymilk call` at the command line, against a real dairy."""

import json
from collections.abc import Iterator

import pytest

from support.commands import run
from support.databases import ROOT, Database, Templates
from support.till import Till, open_till


@pytest.fixture
def till(dairy_001: Database) -> Till:
    """A till of the test's own."""
    return open_till(dairy_001)


@pytest.fixture(scope="module")
def shared(templates: Templates) -> Iterator[Till]:
    """A till that nobody changes."""
    with templates.clone("dairy_001") as database:
        yield open_till(database)


def call(till: Till, *arguments: str) -> tuple[int, str, str]:
    done = run("call", *arguments, "--db-url", till.database.url, cwd=ROOT)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.long
def test_a_person_allocates_a_payment(till: Till) -> None:
    lines = json.dumps([{"invoice_id": str(till.invoices[0]), "amount": 300.50}])
    arguments = ("allocate_payment_atomic", "--arg", f"payment_id={till.payment}")
    allocations = ("--arg", f"allocations={lines}")

    code, out, _ = call(till, *arguments, *allocations, "--dry-run")
    assert (code, "unapplied_amount: 499.5" in out, "Undone" in out) == (0, True, True)

    code, out, err = call(till, *arguments, *allocations, "--json", "--key", "till-3/1")
    assert code == 0, err
    assert json.loads(out)["unapplied_amount"] in {"499.50", "499.5"}

    code, _, err = call(
        till, *arguments, "--arg", f"p_allocations={lines.replace('300.5', '500.5')}"
    )
    assert code == 1
    assert "allocation_exceeds_payment: Allocation exceeds payment." in err
    assert "Nothing was written" in err

    code, out, _ = call(till, "request_outcome", "--arg", "key=till-3/1")
    assert (code, "outcome: done" in out) == (0, True)


def test_what_it_can_not_be_called_with_is_said(shared: Till) -> None:
    code, out, err = call(shared, "business_today", "--key", "k")
    assert (code, out) == (2, "")
    assert "knows no idempotency keys" in err


def test_rows_and_values(shared: Till) -> None:
    assert call(shared, "check_payment_invariants")[1] == "0 rows.\n"
    code, out, _ = call(shared, "business_today", "--json")
    assert (code, len(json.loads(out))) == (0, 10)
