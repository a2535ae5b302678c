"""Gap 001's files, run with Postgres's own programs: what a person without the toolkit would do."""

import re
import subprocess
from pathlib import Path

from pymilk.database.programs import find_programs
from pymilk.database.stamps import without_stamps
from support.databases import MIGRATIONS, ROOT

STEM = "20250917000000_gap_001_allocate_payment_atomic"
BASELINE = MIGRATIONS / "20250901000000_baseline.sql"
MIGRATION = MIGRATIONS / f"{STEM}.sql"
ROLLBACK = ROOT / "supabase" / "rollbacks" / f"{STEM}.sql"
VERIFY = ROOT / "supabase" / "verify" / f"{STEM}.sql"
FUNCTIONS = sorted((ROOT / "sql" / "functions").rglob("*.sql"))


class ScriptFailedError(Exception):
    """psql or pg_dump stopped; what it said."""


def psql(url: str, *arguments: str, script: str | None = None) -> str:
    """Run psql as the URL's user, stopping at the first error.

    Returns:
        What it said, notices included.

    Raises:
        ScriptFailedError: a statement failed.
    """
    return _run("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", *arguments, url, script=script)


def run_file(url: str, path: Path) -> str:
    """Run one of our files in one transaction."""
    return psql(url, "--single-transaction", "--file", str(path))


def dump(url: str, *arguments: str) -> str:
    """The text of pg_dump, the same for the same database."""
    text = without_stamps(_run("pg_dump", "--restrict-key=same", *arguments, url))
    # The one line of a newer pg_dump that an older server does not know.
    return text.replace("SET transaction_timeout = 0;\n", "")


def dump_still(url: str, *arguments: str) -> str:
    """The dump but for where sequences stand: numbers that were taken stay taken."""
    return re.sub(r"(?m)^SELECT pg_catalog\.setval\(.*\n", "", dump(url, *arguments))


def dump_rows(url: str) -> list[str]:
    """The lines of a data dump without their order: an updated row moves to the table's end."""
    return sorted(dump_still(url, "--data-only", "--schema=public").splitlines())


def _run(program: str, *arguments: str, script: str | None = None) -> str:
    done = subprocess.run(
        [find_programs().path(program), *arguments],
        input=script,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ScriptFailedError(done.stderr)
    return done.stdout + done.stderr
