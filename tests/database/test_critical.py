"""The most important tables as CSV: from the dump's own moment, readable without Postgres."""

import csv
from pathlib import Path

import pytest

from pymilk.database.dump import take_backup
from pymilk.database.manifest import Backup, read_backup
from pymilk.database.programs import find_programs
from pymilk.problem import Problem
from support.databases import Database

PROGRAMS = find_programs()
ROWS = """
create table public.payments (id integer primary key, note text, amount numeric, at timestamptz,
  doubled numeric generated always as (amount * 2) stored);
insert into public.payments (id, note, amount, at) values
(2, 'a "quoted", line' || chr(10) || 'and another', 1.50, '2025-09-16 06:10+05:30'),
(1, '', null, null), (3, null, 99999999999999.99, '2025-09-16'), (4, 'मोहन', 0, null);
create schema back;
create table back.office (word text);
insert into back.office values ('x');
"""


@pytest.fixture
def backup(empty_database: Database, tmp_path: Path) -> Backup:
    empty_database.connect(autocommit=True).execute(ROWS)
    wanted = ("payments", "back.office", "sales")
    return take_backup(empty_database.url, PROGRAMS, tmp_path / "one", critical=wanted)


def test_the_named_tables_that_exist_are_exported_and_counted(backup: Backup) -> None:
    assert backup.critical == {"public.payments": 4, "back.office": 1}
    assert read_backup(backup.folder) == backup


def test_a_spreadsheet_reads_what_was_there(backup: Backup) -> None:
    path = backup.folder / "critical" / "public.payments.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["1", "2", "3", "4"]
    assert rows[1]["note"] == 'a "quoted", line\nand another'
    assert rows[1]["at"] == "2025-09-16 00:40:00+00"
    assert rows[2]["amount"] == "99999999999999.99"
    assert rows[1]["doubled"] == "3.00"
    assert rows[3]["note"] == "मोहन"
    assert ',"",' in path.read_text(encoding="utf-8")  # an empty text is told from null


def test_an_export_that_was_altered_is_refused(backup: Backup) -> None:
    path = backup.folder / "critical" / "public.payments.csv"
    path.write_bytes(path.read_bytes().replace(b"1.50", b"1.60"))
    with pytest.raises(Problem, match=r"altered .*critical/public\.payments\.csv"):
        read_backup(backup.folder)
