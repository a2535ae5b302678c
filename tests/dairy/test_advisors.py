"""Supabase's advisors find nothing on the hardened database but what is answered here.

Run by .ci/run and .ci/advisors, which fetch the Supabase CLI; collected only where
PYMILK_SUPABASE_CLI names it (tests/dairy/conftest.py). Level info: everything that it has to say.
"""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from psycopg import sql

from dairy.books import Books
from support.databases import Database

ANSWERED = {
    r"rls_policy_always_true public\.\w+": (
        "whoever is signed in is the dairy's staff and works on every row; anon has no privilege"
    ),
    r"rls_enabled_no_policy private\.\w+": "nobody is meant to reach what the database keeps",
    r"unused_index .*": "nothing has been asked of a database that was made a second ago",
    r"unindexed_foreign_keys public\.\w+ \w+_(product|route)_id_fkey": (
        "products and routes are never deleted or renumbered; the index would cost every delivery"
    ),
    r"unindexed_foreign_keys public\.invoice_line_items \w+_(delivery|order)_id_fkey": (
        "the app confirms and cancels deliveries and orders, and deletes none that was invoiced"
    ),
}
"""What is found, and why it stays. An answer to something that no longer comes up is removed."""


VIEW = (
    "create view public.debts as table public.customers;"
    # by default it is nobody's, which they know
    " grant select on public.debts to authenticated"
)


def advice(database: Database, home: Path) -> set[str]:
    """What the advisors say: the lint's name and what it is about."""
    said = subprocess.run(
        [
            os.environ["PYMILK_SUPABASE_CLI"],
            *("db", "advisors", f"--remote={database.url}?sslmode=disable"),
            *("--type", "all", "--level", "info", "--output-format", "json"),
        ],
        cwd=home,
        env={
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "SUPABASE_TELEMETRY_DISABLED": "1",
            "DO_NOT_TRACK": "1",
            "SUPABASE_NO_UPDATE_NOTIFIER": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stdout + said.stderr
    return {
        " ".join(
            filter(
                None,
                [
                    found["name"],
                    f"{found['metadata']['schema']}.{found['metadata']['name']}",
                    found["metadata"].get("fkey_name"),
                ],
            )
        )
        for found in json.loads(said.stdout)["results"]
    }


def test_all_advice_is_answered_and_every_answer_is_needed(
    dairy_hardened: Database, tmp_path: Path
) -> None:
    found = advice(dairy_hardened, tmp_path)
    unanswered = [each for each in found if not any(re.fullmatch(key, each) for key in ANSWERED)]
    assert sorted(unanswered) == []
    idle = [key for key in ANSWERED if not any(re.fullmatch(key, each) for each in found)]
    assert idle == []


@pytest.mark.parametrize(
    ("weakness", "named"),
    [
        ("alter table public.payments disable row level security", "rls_disabled_in_public"),
        (VIEW, "security_definer_view"),
        (
            "create function public.f() returns int language sql as 'select 1'",
            "function_search_path_mutable",
        ),
    ],
)
def test_they_would_see_it(
    dairy_hardened: Database, tmp_path: Path, weakness: str, named: str
) -> None:
    Books(dairy_hardened.connect(autocommit=True)).connection.execute(sql.SQL(weakness))
    assert named in {each.split()[0] for each in advice(dairy_hardened, tmp_path)}


def test_what_the_commands_copy_lacks_no_definer_is_for_anon(dairy_hardened: Database) -> None:
    exposed = Books(dairy_hardened.connect()).rows(
        "select oid::regprocedure from pg_proc where prosecdef"
        " and pronamespace in ('public'::regnamespace, 'private'::regnamespace)"
        " and has_function_privilege('anon', oid, 'execute')"
    )
    assert exposed == []
