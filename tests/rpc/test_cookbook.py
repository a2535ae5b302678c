"""Every snippet of docs/cookbook.md, run one after the other on the demo dairy; README's too."""

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from pymilk import AsyncClient, Client, errors, rpc
from rpc.ways import Office
from support.databases import ROOT, Database, Templates
from support.till import Till, open_till

SNIPPET = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def snippets(page: str) -> list[str]:
    return SNIPPET.findall((ROOT / page).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def dairy(templates: Templates) -> Iterator[Database]:
    """A dairy with everything deployed, that the snippets work on."""
    with templates.clone("dairy_hardened") as database:
        yield database


def test_the_cookbook(
    dairy: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    till = open_till(dairy)
    monkeypatch.chdir(tmp_path)
    Path("bank.csv").write_text(
        "reference,customer,amount,day,method\n"
        f"N1,{till.customer},250.50,2025-09-16,neft\n"
        f"N1,{till.customer},250.50,2025-09-16,neft\n"
        f"N2,{UUID(int=0)},1,2025-09-16,upi\n"
    )
    owner = dairy.connect(autocommit=True)
    rows = owner.execute("select id from public.customers order by id limit 50").fetchall()
    given: dict[str, Any] = {
        "dsn": dairy.url,
        "payment": till.payment,
        "customer": till.customer,
        "invoice": till.invoices[0],
        "fifty_customers": [customer for (customer,) in rows],
    }
    said = []
    for source in snippets("docs/cookbook.md"):
        exec(compile(source, "docs/cookbook.md", "exec"), dict(given))  # noqa: S102 - our own
        said.append(capsys.readouterr().out)

    csv, allocated, undone, _, tried, invoiced, owed, _, fifty = said
    first, again, refused = csv.splitlines()
    assert first == again
    assert first.endswith(" 250.5")
    assert refused.startswith("N2 customer_not_found ")
    assert owner.execute(
        "select count(*) from public.payments where amount = 250.5"
    ).fetchone() == (1,)
    assert allocated.splitlines()[-1] == "left: 0"
    assert re.fullmatch(r"\d invoices, 800 rupees\n", undone)
    assert tried.startswith("would take off 800")
    made = sum(int(number) for number in re.findall(r"^(\d+) invoices,", invoiced, re.MULTILINE))
    numbered = "select count(*) from public.invoice_metadata where period_start = '2025-09-01'"
    assert owner.execute(numbered).fetchone() == (made,)
    assert made > 25
    logs = owner.execute("select status, sum(succeeded) from public.bulk_operation_logs group by 1")
    assert logs.fetchall() == [("completed", made)]
    assert len(owed.splitlines()) > 10
    assert Decimal(fifty.strip()) > 0
    paid = owner.execute("select amount_applied from public.payments where amount = 500").fetchone()
    assert paid == (500,)


def test_readmes_snippet_over_psycopg(office: Office, own_till: Till) -> None:
    _run_readmes(Client.postgres(office.database.url), own_till)


def test_readmes_snippet_over_supabase(api_office: Office, own_till: Till) -> None:
    assert api_office.api is not None
    assert api_office.gateway is not None
    token = api_office.api.token("service_role")
    _run_readmes(Client.supabase(api_office.gateway.url, token), own_till)


def _run_readmes(client: Client, till: Till) -> None:
    (source,) = snippets("README.md")
    # As it is written, but for how it connects: the two ways are told apart by who calls this.
    lines = [line for line in source.splitlines() if not line.startswith("client = ")]
    assert len(lines) == len(source.splitlines()) - 1
    given: dict[str, Any] = {"client": client, "p": till.payment, "i": till.invoices[0]}
    exec(compile("\n".join(lines), "README.md", "exec"), given)  # noqa: S102 - our own
    assert given["done"].allocated_amount == 300
    assert given["AsyncClient"] is AsyncClient
    with pytest.raises(errors.AllocationExceedsPayment):
        client.call(
            rpc.allocate_payment_atomic(
                payment_id=till.payment,
                allocations=[{"invoice_id": till.invoices[1], "amount": 501}],
            )
        )
    client.close()
