"""The rehearsal's table of statements: readable on eighty columns, told again by the plan."""

import json

from pymilk.cli.render import plain
from pymilk.cli.render_plan import preview_text, statements_text
from pymilk.deploy.basis.evidence import Blocked, StatementRun
from pymilk.deploy.pipeline import rehearse
from pymilk.deploy.preview import preview
from support.databases import Database
from support.projects import Silent, Toy

TOLD = """\
  line        s  statement                                  who waits
     2    0.004  create table public receipts id integer
     3   12.500  alter table public notes alter column id…  everybody 12.81 s
                   notes: AccessExclusive
                   auth.users: ShareRowExclusive
                   rewrites notes
   140    0.200  update public bills                        row writers 0.31 s"""


def test_what_each_statement_does_stands_beside_it() -> None:
    lines = statements_text(
        (
            StatementRun(2, "create table public receipts id integer", 0.0041, {}, ()),
            StatementRun(
                3,
                "alter table public notes alter column id type",
                12.5,
                {"public.notes": "AccessExclusiveLock", "auth.users": "ShareRowExclusiveLock"},
                ("public.notes",),
                Blocked.EVERYBODY,
                12.81,
            ),
            StatementRun(140, "update public bills", 0.2, {}, (), Blocked.ROW_WRITERS, 0.31),
        )
    )
    assert "\n".join(lines) == TOLD
    assert max(len(line) for line in lines) <= 80


def test_a_rehearsal_shows_it_and_the_plan_afterwards(shop: Database, toy: Toy) -> None:
    toy.up("alter table public.notes alter column id type bigint;\nselect 1;\n")
    toy.down("alter table public.notes alter column id type integer;\n")
    toy.verify("select 1;")
    plan = toy.plan(shop)
    found = rehearse(plan, Silent()).rehearsal
    assert found is not None
    lines = statements_text(found.up.statements)
    assert lines[0] == TOLD.splitlines()[0]
    assert lines[1].startswith("     1 ")
    assert "  everybody " in lines[1]
    assert [line.strip() for line in lines[2:4]] == ["notes: AccessExclusive", "rewrites notes"]
    assert lines[4].endswith("  select")
    seen = preview(plan, ())
    told = preview_text(seen)
    assert [line for line in told if line in lines] == lines[:4]
    assert "  1 other statement(s) keep nobody waiting" in told
    first, second = json.loads(json.dumps(plain(seen)))["rehearsed"]["statements"]
    assert (first["locks"], first["rewrites"], first["blocks"]) == (
        {"public.notes": "AccessExclusiveLock"},
        ["public.notes"],
        "readers and writers",
    )
    assert first["held_seconds"] > first["seconds"] > 0
    assert (second["locks"], second["held_seconds"]) == ({}, 0)
