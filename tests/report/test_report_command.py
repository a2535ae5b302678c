"""`pymilk report` at a terminal and in a workflow."""

import subprocess
import sys
from pathlib import Path

import pytest

from support.commands import environment, run
from support.databases import Database
from support.projects import GAP, Toy


def test_a_page_for_its_owner_and_markdown_for_a_pull_request(shop: Database, toy: Toy) -> None:
    on = ("--db-url", shop.url, "--policy", "local")
    done = run("report", *on, cwd=toy.root)
    assert done.returncode == 0, done.stderr
    path = Path(done.stdout.strip().removeprefix("The report is in "))
    assert path.name.startswith(GAP)
    assert path.is_relative_to(toy.root / ".pymilk" / "reports")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    written = run("report", "001", "--format", "md", *on, cwd=toy.root)
    assert written.stdout.startswith("## GAP-001\n\n**All is well.**")
    books = run("report", "--books", "--output", "books.html", *on, cwd=toy.root)
    assert books.stdout == "The report is in books.html\n"
    assert "All rules of the books hold" in (toy.root / "books.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("001", "--books"), 2, "DEPLOYMENT and --books don't go together"),
        (("--format", "pdf"), 2, "A report can't be written as 'pdf'"),
        (("777",), 2, "There is no migration '777'"),
        (("--event", "1"), 2, "Event 1 is no deploy"),
        (("--output", "no/such/folder/page.html"), 1, "can't be written to no/such/folder"),
    ],
    ids=["both", "format", "name", "event", "folder"],
)
def test_what_cannot_be(
    arguments: tuple[str, ...], code: int, said: str, shop_before: Database, toy: Toy
) -> None:
    done = run("report", *arguments, "--db-url", shop_before.url, cwd=toy.root)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_without_its_libraries_it_says_which(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['vl_convert'] = None; sys.argv = ['pymilk', 'report']\n"
        "from pymilk.cli.app import run; sys.exit(run())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=environment(),
    )
    assert done.returncode == 1
    assert "Reports need what is not installed here: vl_convert." in done.stderr
    assert "pip install 'pymilk[report]'" in done.stderr
