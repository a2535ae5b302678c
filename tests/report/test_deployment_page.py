"""The report of a deployment: what a person who knows no SQL can say from it."""

import json
import re
import uuid
from dataclasses import replace

import psycopg
import pytest
from bs4 import Tag

from pymilk.database.connection import Target, connect
from pymilk.database.ledger import Entry, Event, Kind, latest, read_entries, record
from pymilk.deploy.basis.notes import add_note
from pymilk.deploy.basis.sample import Activity, Sample
from pymilk.deploy.change.rollback import roll_back
from pymilk.deploy.health.samples import record_sample
from pymilk.deploy.watch.breach import Then
from pymilk.problem import Problem, UsageProblem
from pymilk.project.policy import Preset
from pymilk.project.project import Project, load_project
from pymilk.report.deployment import read_deployment
from pymilk.report.page import Format, deployment_page
from pymilk.report.wording import Wording, wording_of
from support.databases import Database
from support.pages import Page, read_page, text_of
from support.projects import DOWN_SQL, GAP, UP_SQL, Toy, deploy_toy, mark_baseline
from support.reported import OWED, Rehearsed, an_hour_of

HOSTILE = 'Ravi & "Sons" <script>alert(1)</script><img src=x onerror=alert(2)>'


def page_of(
    database: Database, project: Project, *, name: str | None = None, event: int | None = None
) -> Page:
    return read_page(text_as(Format.HTML, database, project, name=name, event=event))


def text_as(
    form: Format,
    database: Database,
    project: Project,
    *,
    name: str | None = None,
    event: int | None = None,
) -> str:
    target = Target(database.url, Preset.LOCAL)
    seen = read_deployment(target, project, name, event)
    return deployment_page(seen, project, wording_of(project), form)


def deploy_of(database: Database) -> Entry:
    found = latest(read_entries(database.connect()), Kind.DEPLOY)
    assert found is not None
    return found


def test_a_deployment_that_went_well(shop: Database, project: Project, wording: Wording) -> None:
    page, deploy = page_of(shop, project), deploy_of(shop)
    when = wording.moment(deploy.happened_at)
    assert page.sentence == (
        f"All is well. GAP-001 was deployed on {when}, and no money is missing."
    )
    answers = page.said("In one sentence")
    assert "No. All 3 figures (who owes what, and the totals) are to the last digit" in answers
    assert f"{deploy.person} deployed it" in answers
    assert page.commands[:2] == ["pymilk watch --for 24h", 'pymilk note "what was said"']
    assert "Pay a bill in one call." in page.said("What it is, why, and by whom")
    figures, rows = page.table("Before and after"), page.table("Before and after", 1)
    assert figures["1"] == ["owed ₹130.00, opening ₹0.00"] * 2
    assert figures["2"] == ["owed ₹75.25, opening ₹10.50"] * 2
    assert rows["public.bills"] == ["4", "4"]
    assert rows["public.receipts (new)"] == ["-", "0"]
    steps = page.table("Step by step")
    assert list(steps) == ["preflight", "backup", "restore test", "rehearsal", "apply", "after"]
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d", ended) for ended, _, _ in steps.values())
    assert all(re.match(r"[\d.]+ ", took) for _, took, _ in steps.values()), steps
    assert "checks passed" in steps["preflight"][2]
    assert "came back equal" in steps["restore test"][2]
    assert "It wrote no row" in steps["apply"][2]
    assert "No rule of the books is broken" in steps["after"][2]
    assert page.table("Who had to wait")["public.bills"][1] == "readers and writers"
    assert "they were had at attempt 1" in page.said("Who had to wait")
    assert "It changes columns of public.bills. A program" in page.said("Who had to wait")
    back = page.said("The way back")
    assert "pymilk rollback 001" in page.commands
    assert "the schema and every row were exactly as before" in back
    assert "Nobody has watched it." in page.said("The watch")
    assert "+ function public.pay_bill" in page.said("What became of the schema")
    assert "Asia/Kolkata" in text_of(page.soup.find_all("footer")[0])


def test_the_page_needs_nothing_and_runs_nothing(shop: Database, project: Project) -> None:
    page = page_of(shop, project)
    policy = page.soup.find_all("meta", attrs={"http-equiv": "Content-Security-Policy"})
    assert policy[0]["content"] == ("default-src 'none'; style-src 'unsafe-inline'; img-src data:")
    assert page.soup.find_all(["script", "iframe", "object", "embed", "img", "form"]) == []
    for tag in page.soup.find_all():
        for name, value in tag.attrs.items():
            assert name != "src"
            assert not name.startswith("on")
            assert name != "href" or value == "data:,"
    assert "url(" not in page.soup.find_all("style")[0].get_text()
    headings = [found.get("id") for found in page.soup.find_all("h2")]
    assert [found.get("aria-labelledby") for found in page.soup.find_all("section")] == headings
    assert page.soup.find_all("html")[0].get("lang") == "en"


def test_whatever_people_and_files_say_is_text(toy: Toy, shop: Database) -> None:
    add_note(Target(shop.url, Preset.LOCAL), f"{HOSTILE} | ![x](http://e.example/x) @everybody")
    toy.up(f"-- {HOSTILE} [home](http://e.example).\n{UP_SQL}")
    page = page_of(shop, load_project(toy.root))
    assert HOSTILE in page.said("What people said")
    assert HOSTILE in page.said("What it is, why, and by whom")
    assert "The file was edited since" in page.said("What it is, why, and by whom")
    assert page.soup.find_all(["script", "img"]) == []
    written = text_as(Format.MARKDOWN, shop, load_project(toy.root))
    assert "<script" not in written
    assert "<img" not in written
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in written
    assert r"\| !\[x\](http" in written
    assert "@everybody" not in written


def test_an_open_complaint_is_the_first_thing_to_do(shop: Database, project: Project) -> None:
    target = Target(shop.url, Preset.LOCAL)
    note = add_note(target, "customer 2 says the bill is wrong")
    page = page_of(shop, project)
    assert page.sentence.startswith("Have a look.")
    assert page.sentence.endswith("and 1 complaint waits for an answer.")
    assert page.commands[0] == f'pymilk note --answer {note} "what was found"'
    assert "Not answered yet." in page.said("What people said")
    add_note(target, "explained on the phone", answers=note)
    assert page_of(shop, project).sentence.startswith("All is well.")


def test_taken_back_with_what_was_kept(toy: Toy, shop: Database, project: Project) -> None:
    with psycopg.connect(shop.url) as session:
        session.execute("select public.pay_bill(1, 10)")
    roll_back(toy.plan(shop), archive=True)
    page = page_of(shop, project)
    assert page.sentence.startswith("All is well. GAP-001 was deployed on ")
    assert page.sentence.endswith("nobody owes more or less because of it.")
    assert "No. The rollback compared every figure" in page.said("In one sentence")
    assert "pymilk deploy 001" in page.commands
    assert "pymilk rollback 001" not in page.commands
    assert "table public.receipts: 1 row(s)" in page.said("The way back")
    *_, (last, (_, took, _)) = page.table("Step by step").items()
    assert last == "rollback"
    assert re.match(r"[\d.]+ ", took)


def test_what_was_not_proven_and_not_compared_is_named(
    toy: Toy, project: Project, empty_database: Database
) -> None:
    mark_baseline(empty_database.url, toy)
    toy.write("sql/state", "received", "select r.id, r.amount from public.receipts as r")
    kind = "create type public.kind as enum ('cash');\n"
    cast = "cast (public.kind as varchar)"
    toy.gap(
        f"{kind}create {cast} with inout;\n{UP_SQL}",
        f"{DOWN_SQL}drop {cast};\ndrop type public.kind;",
        "select 1 from public.receipts;",
    )
    deploy_toy(toy.plan(empty_database))
    roll_back(toy.plan(empty_database), archive=False)
    steps = page_of(empty_database, project).table("Step by step")
    not_there = 'state/received.sql, line 1: relation "public.receipts" does not exist'
    assert "NOT proven to be undone: line 2, create cast" in steps["rehearsal"][2]
    assert (
        f"Read for the first time after it, so not compared: {not_there}" in steps["rehearsal"][2]
    )
    assert (
        f"Not compared, for it can't be read both with the change and without: {not_there}"
        in (steps["rollback"][2])
    )


def test_each_deployment_is_told_by_itself(toy: Toy, shop: Database, project: Project) -> None:
    first = deploy_of(shop).id
    roll_back(toy.plan(shop), archive=False)
    with connect(shop.url, purpose="test") as connection:
        again = record(connection, Event(Kind.DEPLOY, {}, version=GAP[:14], name=GAP[15:]))
    assert "taken back" in page_of(shop, project, event=first).sentence
    for name in ("001", GAP, None):
        newest = page_of(shop, project, name=name)
        assert "taken back" not in newest.sentence
    # Of one of an older pymilk, or by a run that was cut off, what is not known is said.
    assert "nobody has looked at it since it was committed" in newest.sentence
    assert newest.commands[0] == "pymilk check"
    for number, said in ((again + 1, "none of that number"), (1, "it is a adopt")):
        with pytest.raises(UsageProblem, match=f"Event {number} is no deploy.*{said}"):
            page_of(shop, project, event=number)


def test_what_customers_did_in_those_seconds_is_told_apart(
    rehearsed: Rehearsed, toy: Toy, project: Project, shop_before: Database
) -> None:
    applied = rehearsed.apply(toy, shop_before)
    with psycopg.connect(shop_before.url) as session:
        session.execute("update public.bills set paid = 30 where id = 1")
    rehearsed.look(toy, shop_before, applied)
    page = page_of(shop_before, project)
    assert page.sentence.startswith("All is well.")
    assert "No. 1 of 3 figures moved between the two looks" in page.said("In one sentence")
    figures = page.table("Before and after")
    assert figures["Asha 1 (moved)"] == [
        "owed ₹130.00, opening ₹0.00",
        "owed ₹100.00, opening ₹0.00",
    ]


def test_whoever_moved_is_told_by_name_as_far_as_there_is_one(
    rehearsed: Rehearsed, toy: Toy, project: Project, shop_before: Database
) -> None:
    with psycopg.connect(shop_before.url) as session:
        session.execute("update public.customers set name = %s where id = 2", [HOSTILE])
    applied = rehearsed.apply(toy, shop_before)
    with psycopg.connect(shop_before.url) as session:
        # Who is renamed owes what he owed: that is no figure.
        session.execute("update public.customers set name = 'Binu' where id = 1")
        session.execute("update public.customers set opening = opening + 1 where id in (2, 3)")
        session.execute("update public.bills set customer_id = 2 where customer_id = 3")
    rehearsed.look(toy, shop_before, applied)
    with psycopg.connect(shop_before.url) as session:
        session.execute("delete from public.customers where id = 3")
    page = page_of(shop_before, project)
    figures = page.table("Before and after")
    assert [name for name in figures if "moved" in name] == [f"{HOSTILE} 2 (moved)", "3 (moved)"]
    assert "Binu 1" in figures
    toy.write("sql/state", "owed", OWED.replace("public.owed(c.id)", "public.gone(c.id)"))
    assert "2 (moved)" in page_of(shop_before, load_project(toy.root)).table("Before and after")


def test_a_rule_that_is_broken_since(
    rehearsed: Rehearsed, toy: Toy, project: Project, shop_before: Database
) -> None:
    applied = rehearsed.apply(toy, shop_before)
    with psycopg.connect(shop_before.url) as session:
        session.execute("update public.bills set amount = 10 where id = 2")
    with pytest.raises(Problem, match="overpaid"):
        rehearsed.look(toy, shop_before, applied)
    page = page_of(shop_before, project)
    assert page.sentence.startswith("Something is wrong. Since GAP-001 was deployed on ")
    assert page.sentence.endswith("1 rule of the books that held before is broken.")
    assert page.commands[:2] == ["pymilk check", "pymilk rollback 001"]
    assert "overpaid: 2, 10, 20" in page.table("Step by step")["after"][2]


def test_a_rehearsal_is_told_as_far_as_it_went(project: Project, shop_before: Database) -> None:
    page = page_of(shop_before, project)
    assert page.sentence.startswith("Rehearsed. GAP-001 was rehearsed on a copy")
    assert page.sentence.endswith("The live database was not changed.")
    assert "pymilk deploy 001" in page.commands
    assert list(page.table("Step by step")) == ["backup", "restore test", "rehearsal"]
    written = text_as(Format.MARKDOWN, shop_before, project, name="001")
    assert written.startswith("## GAP-001\n\n**Rehearsed.** GAP-001 was rehearsed")
    assert "| public.bills | AccessExclusiveLock | readers and writers |" in written


def test_nothing_was_deployed_yet(toy: Toy, project: Project, empty_database: Database) -> None:
    mark_baseline(empty_database.url, toy)
    with pytest.raises(UsageProblem, match="Nothing was deployed or rehearsed here yet"):
        page_of(empty_database, project)
    with pytest.raises(UsageProblem, match="001 was never deployed"):
        page_of(empty_database, project, name="001")


def watched(database: Database, samples: list[Sample]) -> None:
    deploy, watch = deploy_of(database), uuid.uuid4()
    with connect(database.url, purpose="test") as connection:
        for sample in samples:
            record_sample(connection, sample, deploy.id, watch)


def test_the_watch_as_plots(shop: Database, project: Project) -> None:
    watched(shop, an_hour_of(deploy_of(shop)))
    with connect(shop.url, purpose="test") as connection:
        facts = {"deploy": deploy_of(shop).id, "said": ["overpaid: 2"], "then": "told <people>"}
        record(connection, Event(Kind.BREACH, facts, version=GAP[:14]))
    page = page_of(shop, project)
    assert "a rule was broken for a while and holds again" in page.sentence
    watch = page.said("The watch")
    assert ": 60 samples. In 5 of them a rule of the books was broken" in watch
    assert "overpaid: 2 What followed: told <people>." in watch
    assert "route_sheet takes <twice> as long" in watch
    assert "pg_stat_statements: it is not installed" in watch
    assert "400 ms" in page.said("Who had to wait")
    plots = page.section("The watch").find_all("svg")
    assert len(plots) == 4
    for plot in plots:
        assert plot["role"] == "img"
        name, shows = (
            page.soup.find(id=plot[by]) for by in ("aria-labelledby", "aria-describedby")
        )
        assert isinstance(name, Tag)
        assert isinstance(shows, Tag)
        assert name.name == "title"
        assert shows.name == "desc"
        assert len(text_of(shows)) > 20
        assert plot.select('[stroke="var(--series-1)"]')
        # Its only colours are the page's.
        assert not re.search(r'(?:stroke|fill)="#', str(plot))
    named = [plot["aria-labelledby"] for plot in plots]
    assert len(set(named)) == len(named)


def test_taken_back_because_of_a_breach_is_not_all_well(
    toy: Toy, shop: Database, project: Project
) -> None:
    """The rollback takes the change back, not the rows that somebody wrote meanwhile."""
    with psycopg.connect(shop.url) as session:
        session.execute("update public.bills set amount = 10 where id = 2")
    watched(shop, an_hour_of(deploy_of(shop))[:23])
    roll_back(toy.plan(shop), archive=False)
    page = page_of(shop, project)
    assert page.sentence.startswith("Have a look. GAP-001 was deployed on ")
    assert "a rule of the books had been broken" in page.sentence
    answers = page.said("In one sentence")
    assert "Perhaps. The rollback itself moved nothing" in answers
    assert "overpaid" in answers
    assert page.commands[0] == "pymilk check"


def test_a_breach_that_still_stands(shop: Database, project: Project) -> None:
    watched(shop, an_hour_of(deploy_of(shop))[:23])
    page = page_of(shop, project)
    assert page.sentence.startswith("Something is wrong.")
    answers = page.said("In one sentence")
    assert "Broken since: overpaid." in answers
    assert "Perhaps. All 3 figures" in answers
    assert "At most 1 row broke a rule" in page.said("The watch")
    assert "pymilk rollback 001" in page.commands[:2]


def test_a_look_that_could_not_read_a_rule_is_no_all_clear(
    shop: Database, project: Project
) -> None:
    hour = an_hour_of(deploy_of(shop))
    blind = [
        replace(sample, invariants={}, failed={"overpaid": "it timed out"}, broken=())
        for sample in hour[23:25]
    ]
    watched(shop, [*hour[:23], *blind])
    assert page_of(shop, project).sentence.startswith("Something is wrong.")
    watched(shop, hour[25:30])
    assert page_of(shop, project).sentence.startswith("All is well.")
    watched(shop, blind)
    page = page_of(shop, project)
    assert page.sentence.startswith("Have a look.")
    assert page.sentence.endswith("and 1 rule could not be read when last looked at.")
    assert "See why overpaid can't be read" in page.said("In one sentence")


def test_where_a_rollback_would_lose_rows_it_is_said_how_to_keep_them(
    shop: Database, project: Project
) -> None:
    watched(shop, an_hour_of(deploy_of(shop))[:23])
    with connect(shop.url, purpose="test") as connection:
        facts = {"deploy": deploy_of(shop).id, "said": ["x"], "then": Then.ROWS_WOULD_BE_LOST}
        record(connection, Event(Kind.BREACH, facts, version=GAP[:14]))
    assert page_of(shop, project).commands[:2] == ["pymilk check", "pymilk rollback 001 --archive"]


def test_where_nothing_was_refused_that_is_said(shop: Database, project: Project) -> None:
    hour = an_hour_of(deploy_of(shop))[:2]
    watched(shop, [replace(sample, activity=Activity(7, 3, 0)) for sample in hour])
    assert "No transaction was rolled back" in page_of(shop, project).said("The watch")


def test_facts_that_no_pymilk_has_written_are_refused(shop: Database, project: Project) -> None:
    with connect(shop.url, purpose="test") as connection:
        odd = json.loads('{"rows_before": "many"}')
        number = record(connection, Event(Kind.DEPLOY, odd, version=GAP[:14], name=GAP[15:]))
    with pytest.raises(Problem, match=rf"Event {number} .* can't be read: rows_before"):
        page_of(shop, project)
