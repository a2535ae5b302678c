"""`pymilk snapshot`: function files into migrations, and what they replace into rollbacks."""

import re
import shutil
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from dairy.scripts import dump, run_file
from pymilk.problem import UsageProblem
from pymilk.project.project import load_project
from pymilk.project.snapshot import Snapshot, take_snapshot
from pymilk.project.snapshot_check import Kind, check_quotations
from support.databases import ROOT, Database

BASELINE = "20250901000000_baseline"
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
NEW = "20260304050607"

OLD_OWED = """\
-- What a customer owes.
create function public.owed(p_customer integer) returns numeric
language plpgsql
as $$
begin
  return 1;
end;
$$;
"""


def function(name: str = "public.owed", **said: str) -> str:
    """A function file; `said` is what differs from one integer in, one numeric out."""
    part = {"given": "p_customer integer", "types": "integer", "gives": "returns numeric"}
    part |= {"language": "plpgsql", "body": "begin return 2; end;", **said}
    atomic = part["language"] == "atomic"  # a body without quotes
    body = part["body"] if atomic else f"as $$ {part['body']} $$"
    language = "sql" if atomic else part["language"]
    return (
        f"-- {name}\n"
        f"create or replace function {name}({part['given']})\n{part['gives']}\n"
        f"language {language}\n{body};\n\n"
        f"comment on function {name}({part['types']}) is 'It is there.';\n"
    )


class Shop:
    """A project of files, small enough to vary."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write(f"supabase/migrations/{BASELINE}.sql", OLD_OWED)
        self.write("sql/functions/bills/owed.sql", function())

    def write(self, path: str, text: str) -> Path:
        whole = self.root / path
        whole.parent.mkdir(parents=True, exist_ok=True)
        whole.write_text(text, encoding="utf-8")
        return whole

    def function(self, path: str, text: str) -> None:
        self.write(f"sql/functions/{path}.sql", text)

    def snapshot(self, name: str, *paths: str, now: datetime = NOW) -> Snapshot:
        found = [self.root / path for path in paths]
        return take_snapshot(load_project(self.root), name, found, now=now)

    def up(self, stem: str) -> Path:
        return self.root / f"supabase/migrations/{stem}.sql"

    def down(self, stem: str) -> Path:
        return self.root / f"supabase/rollbacks/{stem}.sql"

    def findings(self) -> list[tuple[Kind, str]]:
        return [(each.kind, each.found) for each in check_quotations(load_project(self.root))]

    def files(self) -> dict[str, str]:
        return {
            str(path.relative_to(self.root)): path.read_text()
            for path in self.root.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def quoted(path: str, text: str) -> str:
    digest = sha256(text.encode()).hexdigest()
    return f"-- >>> {path} sha256:{digest}\n{text}-- <<<\n"


def test_a_new_migration_comes_with_its_pairs(shop: Shop) -> None:
    shop.function("bills/pay", function("public.pay", given="", types=""))
    (shop.root / "docs/gaps").mkdir(parents=True)
    taken = shop.snapshot("gap_012_pay")
    stem = f"{NEW}_gap_012_pay"
    assert taken == Snapshot(
        stem,
        ("sql/functions/bills/owed.sql", "sql/functions/bills/pay.sql"),
        (),
        {},
        (
            f"supabase/migrations/{stem}.sql",
            f"supabase/rollbacks/{stem}.sql",
            "docs/gaps/gap_012.md",
            f"supabase/verify/{stem}.sql",
        ),
    )
    up, down = shop.up(stem).read_text(), shop.down(stem).read_text()
    assert up.endswith(
        quoted("sql/functions/bills/owed.sql", function())
        + "\n"
        + quoted("sql/functions/bills/pay.sql", function("public.pay", given="", types=""))
    )
    was = (
        OLD_OWED.replace("create function", "create or replace function")
        + "\ncomment on function public.owed(integer) is null;\n"
    )
    digest = sha256(was.encode()).hexdigest()
    assert down.endswith(
        f"-- >>> sql/functions/bills/owed.sql as of {BASELINE} sha256:{digest}\n{was}-- <<<\n\n"
        "-- >>> sql/functions/bills/pay.sql was not there\ndrop function public.pay();\n-- <<<\n"
    )
    assert "raise exception 'the canary of" in (
        shop.root / f"supabase/verify/{stem}.sql"
    ).read_text(encoding="utf-8")
    assert shop.findings() == []


def test_a_second_time_changes_nothing(shop: Shop) -> None:
    shop.function("bills/pay", function("public.pay", given="", types=""))
    shop.snapshot("pay")
    before = shop.files()
    assert shop.snapshot("pay").written == ()
    assert shop.snapshot("another").written == ()
    assert shop.files() == before


def test_the_named_one_is_refreshed_where_its_blocks_stand(shop: Shop) -> None:
    shop.snapshot("pay")
    stem = f"{NEW}_pay"
    up = shop.up(stem)
    by_hand = up.read_text().replace("-- functions", "select 'before';\n\n-- functions")
    up.write_text(by_hand + "\n-- triggers\n\nselect 'after';\n")
    shop.function("bills/owed", function(body="begin return 3; end;"))
    shop.function("bills/a_first", function("public.a_first"))
    shop.function("bills/z_last", function("public.z_last"))
    shop.snapshot("pay")
    text = up.read_text()
    places = [
        text.index(piece)
        for piece in ("'before'", "a_first.sql", "owed.sql", "z_last.sql", "'after'")
    ]
    assert places == sorted(places)
    assert quoted("sql/functions/bills/owed.sql", function(body="begin return 3; end;")) in text
    assert text.endswith("-- <<<\n\n-- triggers\n\nselect 'after';\n")
    assert shop.findings() == []


@pytest.mark.parametrize("here", [".", "sql/functions", ".."])
def test_only_what_is_named_is_quoted(
    here: str, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named from where one is, or from the project's folder."""
    shop.function("bills/pay", function("public.pay"))
    monkeypatch.chdir(shop.root / here)
    named = Path("bills/pay.sql" if here == "sql/functions" else "sql/functions/bills/pay.sql")
    taken = take_snapshot(load_project(shop.root), "pay", [named], now=NOW)
    assert taken.quoted == ("sql/functions/bills/pay.sql",)
    assert shop.findings() == [(Kind.WAITS, "no migration quotes it")]


def test_what_a_later_migration_quotes_is_left_alone(shop: Shop) -> None:
    shop.snapshot("first")
    shop.function("bills/owed", function(body="begin return 3; end;"))
    later = shop.snapshot("second", now=NOW.replace(year=2027)).migration
    before = shop.files()
    shop.function("bills/owed", function(body="begin return 4; end;"))
    taken = shop.snapshot("first")
    assert taken.later == {"sql/functions/bills/owed.sql": later}
    assert taken.written == ()
    with pytest.raises(UsageProblem, match=f"quoted by a later migration, {later}"):
        shop.snapshot("first", "sql/functions/bills/owed.sql")
    assert {**shop.files(), "sql/functions/bills/owed.sql": ""} == {
        **before,
        "sql/functions/bills/owed.sql": "",
    }


def test_a_rollback_goes_back_to_what_the_migration_before_it_says_now(shop: Shop) -> None:
    first = shop.snapshot("first").migration
    shop.function("bills/owed", function(body="begin return 3; end;"))
    second = shop.snapshot("second", now=NOW.replace(year=2027)).migration
    old, new = function(), function(body="begin return 9; end;")
    text = shop.up(first).read_text()
    path = "sql/functions/bills/owed.sql"
    shop.up(first).write_text(text.replace(quoted(path, old), quoted(path, new)))
    assert shop.findings() == [(Kind.WRONG, f"public.owed is not brought back as {first} left it")]
    assert shop.snapshot("second").written == (f"supabase/rollbacks/{second}.sql",)
    assert "return 9" in shop.down(second).read_text()
    assert shop.findings() == []


class TestChangedResult:
    """`create or replace` keeps a function's result and its arguments' names and defaults."""

    @pytest.mark.parametrize(
        ("was", "now", "dropped"),
        [
            ({"gives": "returns integer"}, {}, "both"),
            (
                {"gives": "returns table (a int, b text)"},
                {"gives": "returns table (a integer)"},
                "both",
            ),
            ({"gives": "returns setof int"}, {"gives": "returns setof pg_catalog.int4"}, ""),
            ({"given": "p_who integer"}, {}, "both"),
            ({"given": "integer"}, {}, "back"),
            ({"given": "p_customer integer default 1"}, {}, "there"),
            ({"given": "p_customer integer, out owes int"}, {"given": "p_customer int"}, "both"),
            ({"body": "begin return 5; end;"}, {}, ""),
        ],
        ids=str,
    )
    def test_is_dropped_first(
        self, was: dict[str, str], now: dict[str, str], dropped: str, shop: Shop
    ) -> None:
        shop.up(BASELINE).write_text("select 1;\n")
        shop.function("bills/owed", function(**was))
        shop.snapshot("first")
        shop.function("bills/owed", function(**now))
        stem = shop.snapshot("second", now=NOW.replace(year=2027)).migration
        drop = "drop function public.owed(integer);\n-- >>> sql/functions/bills/owed.sql "
        assert (drop in shop.up(stem).read_text()) is (dropped in {"there", "both"})
        assert (drop in shop.down(stem).read_text()) is (dropped in {"back", "both"})
        assert shop.findings() == []
        assert shop.snapshot("second").written == ()

    def test_goes_there_and_back_in_postgres(self, shop: Shop, empty_database: Database) -> None:
        shop.function("bills/shown", function("public.shown", gives="returns integer"))
        first = shop.snapshot("first").migration
        shop.function(
            "bills/owed",
            function(
                given="p_customer integer default 7", gives="returns table (owes int, since date)",
                body="begin end;",
            ),
        )  # fmt: skip
        second = shop.snapshot("second", now=NOW.replace(year=2027)).migration
        url = empty_database.url
        run_file(url, shop.up(BASELINE))
        run_file(url, shop.up(first))
        before = dump(empty_database.superuser_url)
        run_file(url, shop.up(second))
        assert "since date" in dump(empty_database.superuser_url)
        run_file(url, shop.down(second))
        assert dump(empty_database.superuser_url) == before

    def test_a_drop_by_hand_counts(self, shop: Shop) -> None:
        shop.function("bills/owed", function(gives="returns integer"))
        shop.write(f"supabase/migrations/{NEW}_pay.sql", "drop function public.owed(int);\n")
        shop.snapshot("pay")
        assert shop.up(f"{NEW}_pay").read_text().count("drop function") == 1

    def test_without_the_drop_the_check_says_so(self, shop: Shop) -> None:
        shop.function("bills/owed", function(gives="returns integer"))
        up = shop.up(shop.snapshot("pay").migration)
        up.write_text(up.read_text().replace("drop function public.owed(integer);\n", ""))
        assert shop.findings() == [
            (
                Kind.WRONG,
                "public.owed can't be replaced as it is: its result changes, and nothing drops it",
            )
        ]


def test_other_arguments_make_another_function(shop: Shop) -> None:
    shop.function(
        "bills/owed", function(given="p_customer integer, p_on date", types="integer, date")
    )
    before = shop.files()
    with pytest.raises(UsageProblem, match="both would be there") as refused:
        shop.snapshot("pay")
    assert "public.owed_v2" in refused.value.todo
    assert shop.files() == before


def test_other_arguments_are_taken_while_no_migration_before_has_it(shop: Shop) -> None:
    shop.up(BASELINE).write_text("select 1;\n")
    shop.snapshot("pay")
    shop.function(
        "bills/owed", function(given="p_customer integer, p_on date", types="integer, date")
    )
    stem = shop.snapshot("pay").migration
    assert "drop function public.owed(integer, date);" in shop.down(stem).read_text()
    assert shop.up(stem).read_text().count("-- >>>") == 1


class TestGone:
    """A function file that is no more."""

    def test_is_dropped_and_comes_back_with_the_rollback(
        self, shop: Shop, empty_database: Database
    ) -> None:
        first = shop.snapshot("first").migration
        (shop.root / "sql/functions/bills/owed.sql").unlink()
        assert shop.findings() == [
            (Kind.WAITS, f"is gone, and {first} still makes public.owed(integer)")
        ]
        taken = shop.snapshot("second", now=NOW.replace(year=2027))
        assert taken.gone == ("sql/functions/bills/owed.sql",)
        assert shop.findings() == []
        assert shop.snapshot("second").written == ()
        url = empty_database.url
        run_file(url, shop.up(BASELINE))
        run_file(url, shop.up(first))
        before = dump(empty_database.superuser_url)
        run_file(url, shop.up(taken.migration))
        assert "owed" not in dump(empty_database.superuser_url)
        run_file(url, shop.down(taken.migration))
        assert dump(empty_database.superuser_url) == before

    def test_leaves_no_trace_in_the_migration_that_brought_it(self, shop: Shop) -> None:
        shop.function("bills/pay", function("public.pay"))
        stem = shop.snapshot("first").migration
        (shop.root / "sql/functions/bills/pay.sql").unlink()
        shop.snapshot("first")
        assert "pay" not in shop.up(stem).read_text()
        assert "pay" not in shop.down(stem).read_text()
        assert shop.findings() == []

    def test_that_comes_back_is_quoted_again(self, shop: Shop) -> None:
        shop.snapshot("first")
        file = shop.root / "sql/functions/bills/owed.sql"
        text = file.read_text()
        file.unlink()
        second = shop.snapshot("second", now=NOW.replace(year=2027)).migration
        file.write_text(text)
        shop.snapshot("second")
        assert "is gone" not in shop.up(second).read_text()
        assert shop.findings() == []

    def test_a_file_that_has_moved_is_not_gone(self, shop: Shop) -> None:
        shop.snapshot("first")
        (shop.root / "sql/functions/bills/owed.sql").rename(shop.root / "sql/functions/owed.sql")
        assert shop.findings() == []
        assert shop.snapshot("second").written == ()
        stem = shop.snapshot("first").migration  # while it is worked on, its path is kept true
        assert "-- >>> sql/functions/owed.sql" in shop.up(stem).read_text()
        assert shop.findings() == []


def test_functions_come_and_go_in_an_order_that_works(shop: Shop, empty_database: Database) -> None:
    """Bodies in SQL are looked up at once, and those without quotes are held on to."""
    body = "return public.z(p_customer)"
    shop.function("a", function("public.a", language="atomic", body=body))
    shop.function("b", function("public.b", language="sql", body="select public.a(p_customer)"))
    shop.function("z", function("public.z", language="sql", body="select 1.0"))
    stem = shop.snapshot("first").migration
    up, down = shop.up(stem).read_text(), shop.down(stem).read_text()
    assert re.findall(r"-- >>> sql/functions/(\S+)\.sql", up) == ["bills/owed", "z", "a", "b"]
    assert re.findall(r"-- >>> sql/functions/(\S+)\.sql", down) == ["a", "b", "bills/owed", "z"]
    url = empty_database.url
    run_file(url, shop.up(BASELINE))
    before = dump(empty_database.superuser_url)
    run_file(url, shop.up(stem))
    run_file(url, shop.down(stem))
    assert dump(empty_database.superuser_url) == before


class TestCheck:
    """What `--check` finds."""

    def test_a_file_that_has_changed(self, shop: Shop) -> None:
        stem = shop.snapshot("first").migration
        shop.function("bills/owed", function(body="begin return 3; end;"))
        assert shop.findings() == [(Kind.WAITS, f"differs from what {stem} quotes")]

    def test_an_edited_quotation(self, shop: Shop) -> None:
        up = shop.up(shop.snapshot("first").migration)
        up.write_text(up.read_text().replace("return 2", "return 5"))
        kinds = [kind for kind, _ in shop.findings()]
        assert kinds == [Kind.WAITS, Kind.WRONG]

    @pytest.mark.parametrize(
        ("old", "new", "found"),
        [
            ("return 1", "return 5", "public.owed is not brought back"),
            (" as of 2025", " as of 2024", "public.owed is not brought back"),
            ("pay.sql was not there", "pay.sql is gone", "public.pay was not there before"),
        ],
    )
    def test_an_edited_rollback(self, old: str, new: str, found: str, shop: Shop) -> None:
        shop.function("bills/pay", function("public.pay"))
        down = shop.down(shop.snapshot("first").migration)
        assert old in down.read_text()
        down.write_text(down.read_text().replace(old, new))
        ((kind, said),) = shop.findings()
        assert kind is Kind.WRONG
        assert found in said

    def test_a_forgotten_rollback(self, shop: Shop) -> None:
        down = shop.down(shop.snapshot("first").migration)
        down.write_text("select 1;\n")
        assert shop.findings() == [(Kind.WRONG, "public.owed is neither brought back nor dropped")]

    def test_a_rollback_by_hand_is_the_authors(self, shop: Shop) -> None:
        shop.function("bills/pay", function("public.pay"))
        down = shop.down(shop.snapshot("first").migration)
        restored = OLD_OWED.replace("create function", "create or replace function")
        down.write_text(f"drop function public.pay(integer);\n{restored}")
        assert shop.findings() == []
        assert shop.snapshot("first").written == ()

    def test_what_says_that_it_is_irreversible_needs_none(self, shop: Shop) -> None:
        stem = shop.snapshot("first").migration
        shop.up(stem).write_text("-- irreversible: rows are merged\n" + shop.up(stem).read_text())
        shop.down(stem).unlink()
        assert shop.findings() == []
        shop.function("bills/owed", function(body="begin return 3; end;"))
        assert shop.snapshot("first").written == (f"supabase/migrations/{stem}.sql",)
        assert not shop.down(stem).exists()

    def test_holds_here(self) -> None:
        assert check_quotations(load_project(ROOT)) == ()


@pytest.mark.long
def test_refreshing_our_own_migrations_changes_nothing(tmp_path: Path) -> None:
    for folder in ("supabase", "sql"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    project = load_project(tmp_path)
    for migration in project.migrations:
        assert take_snapshot(project, migration.stem).written == (), migration.stem


class TestRefused:
    """Input that can't be worked with: one sentence, and no file written."""

    @pytest.mark.parametrize(
        ("path", "text", "said"),
        [
            ("bills/two", function("public.two") + function("public.other"), "makes 2 functions"),
            ("bills/none", "select 1;\n", "makes no function"),
            ("bills/other", function("public.named"), "makes public.named"),
            ("bills/bare", function("bare"), "whatever schema"),
            (
                "bills/silent",
                function("public.silent").split("comment on", maxsplit=1)[0],
                "has no comment on function public.silent(integer)",
            ),
            (
                "bills/wrong",
                function("public.wrong", types="text"),
                "has no comment on function public.wrong(integer)",
            ),
            (
                "bills/once",
                function("public.once").replace("create or replace", "create"),
                "could not be run over",
            ),
            ("bills/endless", function("public.endless").rstrip(), "without a line end"),
            ("bills/mark", function("public.mark") + "-- <<<\n", "like a mark"),
            ("other/owed", function(), "both make public.owed"),
        ],
    )
    def test_an_unfit_file(self, path: str, text: str, said: str, shop: Shop) -> None:
        shop.function(path, text)
        before = shop.files()
        with pytest.raises(UsageProblem, match=re.escape(said)) as refused:
            shop.snapshot("pay")
        assert refused.value.state == "No file was written."
        assert refused.value.todo
        assert shop.files() == before

    @pytest.mark.parametrize("name", ["012", "gap_012", "GAP-012", "Pay Bill", "../x", "2025"])
    def test_a_name_that_is_none(self, name: str, shop: Shop) -> None:
        with pytest.raises(UsageProblem, match="There is no migration"):
            shop.snapshot(name)

    def test_no_such_file(self, shop: Shop) -> None:
        with pytest.raises(UsageProblem, match=r"no function file sql/functions/nope\.sql"):
            shop.snapshot("pay", "sql/functions/nope.sql")

    def test_no_such_folder(self, shop: Shop) -> None:
        shop.write("pyproject.toml", '[tool.pymilk]\nfunctions = "db/code"\n')
        with pytest.raises(UsageProblem, match="There is no folder db/code"):
            shop.snapshot("pay")

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("-- >>> sql/a.sql sha256:00\nselect 1;\n", "its other end"),
            ("select 1;\n-- <<<\n", "its other end"),
            ("-- >>> sql/a.sql perhaps\n-- <<<\n", "nothing that is known"),
            ("-- >>> a sha256:0\n-- <<<\n-- >>> a sha256:0\n-- <<<\n", "a block already"),
            ("-- >>> a sha256:0\n-- >>> b sha256:0\n-- <<<\n", "its other end"),
        ],
    )
    def test_marks_that_make_no_block(self, text: str, said: str, shop: Shop) -> None:
        shop.write("supabase/migrations/20250902000000_odd.sql", text)
        with pytest.raises(UsageProblem, match=said):
            shop.snapshot("pay")


def test_another_folder(shop: Shop) -> None:
    shop.write("pyproject.toml", '[tool.pymilk]\nfunctions = "db/code/"\n')
    shop.write("db/code/owed.sql", function())
    stem = shop.snapshot("pay").migration
    assert "-- >>> db/code/owed.sql sha256:" in shop.up(stem).read_text()
    assert "-- functions, quoted from db/code ----" in shop.up(stem).read_text()


def test_line_ends_are_the_checkouts_business(shop: Shop) -> None:
    stem = shop.snapshot("pay").migration
    for path in (shop.up(stem), shop.down(stem), shop.root / "sql/functions/bills/owed.sql"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert shop.findings() == []
    assert shop.snapshot("pay").written == ()
    shop.function("bills/pay", function("public.pay"))
    shop.snapshot("pay")
    assert b"\n" not in shop.up(stem).read_bytes().replace(b"\r\n", b"")
    assert shop.findings() == []


def test_the_next_version_is_later_than_all(shop: Shop) -> None:
    shop.write("supabase/migrations/20991231235959_far.sql", "select 1;\n")
    assert shop.snapshot("pay").migration == "21000101000000_pay"


def test_a_comment_of_the_old_statement_comes_back(shop: Shop) -> None:
    shop.write(
        "supabase/migrations/20250902000000_said.sql",
        "-- why\ncomment on function public.owed is 'All of it.';\n",
    )
    down = shop.down(shop.snapshot("pay").migration).read_text()
    assert "$$;\n\ncomment on function public.owed is 'All of it.';\n-- <<<" in down
