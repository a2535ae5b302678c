"""What stands around the schema is put back by a rollback, or it is said that nobody knows."""

from collections.abc import Iterator

import psycopg
import pytest

from pymilk.cli.progress import LineProgress
from pymilk.database.dump import take_backup
from pymilk.database.ledger import Kind, latest, read_entries, whole
from pymilk.database.manifest import Backup
from pymilk.database.programs import find_programs
from pymilk.database.restore import restore
from pymilk.deploy.basis.evidence import Evidence, Rehearsed
from pymilk.deploy.basis.plan import Bench
from pymilk.deploy.change.rollback import roll_back
from pymilk.deploy.rehearsal.failed import RehearsalFailed
from pymilk.deploy.rehearsal.rehearsal import rehearse
from pymilk.problem import Refused
from support.databases import Database
from support.projects import DOWN_SQL, UP_SQL, Toy, copy_of, deploy_toy, schema_and_rows

SUMS = "create materialized view public.sums as select sum(amount) from public.bills"

# What stands around the schema → what a migration does to it, what takes it back, and what is said.
AROUND = {
    "an extension": (
        "create extension if not exists moddatetime with schema extensions;",
        "drop extension moddatetime;",
        "extension moddatetime is there (in schema extensions), and was not",
    ),
    "a setting of a role": (
        "alter role authenticator set statement_timeout = '1s';",
        "alter role authenticator set statement_timeout = '8s';",
        "setting statement_timeout of role authenticator is 1s; it was 8s",
    ),
    "a setting of the database": (
        "alter database postgres set search_path = public;",
        "alter database postgres reset search_path;",
        "setting search_path of this database is there (public), and was not",
    ),
    "a publication": (
        "alter publication supabase_realtime set (publish = 'insert');",
        "alter publication supabase_realtime set (publish = 'insert, update, delete, truncate');",
        (
            "publication supabase_realtime is owner postgres, insert;"
            " it was owner postgres, insert, update, delete, truncate"
        ),
    ),
}


@pytest.fixture(scope="module")
def with_sums(toy_adopted: Database) -> Iterator[Database]:
    """The toy's database with a materialized view in it."""
    with copy_of(toy_adopted) as database:
        with psycopg.connect(database.url, autocommit=True) as session:
            session.execute(SUMS)
        yield database


@pytest.fixture(scope="module")
def backup(with_sums: Database, tmp_path_factory: pytest.TempPathFactory) -> Backup:
    folder = tmp_path_factory.mktemp("backup") / "one"
    return take_backup(with_sums.url, find_programs(), folder)


class OnTheCopy:
    """Rehearses the toy, as it is on disk, on a fresh copy."""

    def __init__(self, backup: Backup, bench: Bench, toy: Toy) -> None:
        self._backup = backup
        self._bench = bench
        self._toy = toy

    def run(self, up: str, down: str) -> Rehearsed:
        self._toy.up(up)
        self._toy.down(down)
        restore(self._backup, self._bench.superuser_url, find_programs())
        try:
            return rehearse(self._toy.plan("postgresql://nobody@nowhere.invalid/none"), self._bench)
        finally:
            self._as_it_was()

    def _as_it_was(self) -> None:
        """The server is there for other tests as well."""
        with psycopg.connect(self._bench.superuser_url, autocommit=True) as session:
            session.execute("drop extension if exists moddatetime")
            session.execute("delete from auth.users")
            for _, back, _ in list(AROUND.values())[1:]:
                session.execute(back)
            if session.execute("select to_regrole('reader_of_the_toy') is not null").fetchone() == (
                True,
            ):
                session.execute("drop owned by reader_of_the_toy; drop role reader_of_the_toy")


@pytest.fixture
def on_the_copy(backup: Backup, bench: Bench, toy: Toy) -> OnTheCopy:
    toy.verify("select 1;")
    return OnTheCopy(backup, bench, toy)


@pytest.mark.parametrize("what", AROUND)
def test_what_a_rollback_leaves_behind_is_found_on_the_copy(
    on_the_copy: OnTheCopy, what: str
) -> None:
    up, down, said = AROUND[what]
    with pytest.raises(RehearsalFailed) as failed:
        on_the_copy.run(up, "comment on table public.notes is null;")
    assert failed.value.happened == (
        f"The rollback doesn't restore what stands around the schema: {said}."
    )
    assert on_the_copy.run(up, down).not_undone == ()


def test_a_materialized_view_comes_back_with_its_rows(on_the_copy: OnTheCopy) -> None:
    with pytest.raises(
        RehearsalFailed, match=r"view public\.sums is not filled, so that nobody can"
    ):
        on_the_copy.run("drop materialized view public.sums;", f"{SUMS} with no data;")
    assert on_the_copy.run("drop materialized view public.sums;", f"{SUMS};").not_undone == ()
    # One that is filled where it wasn't is no fault: somebody refreshes it every hour.
    on_the_copy.run(f"{SUMS.replace('sums', 'more')};", "drop materialized view public.more;")


def test_a_setting_that_the_copy_does_not_have_is_not_called_proven(on_the_copy: OnTheCopy) -> None:
    """The live database's own, perhaps: only there it shows."""
    up, _, _ = AROUND["a setting of a role"]
    found = on_the_copy.run(up, "alter role authenticator set statement_timeout = '10s';")
    (line,) = found.not_undone
    assert line == (
        "setting statement_timeout of role authenticator is 10s; it was 8s on the copy, whose"
        " settings are its server's"
    )


def test_what_nobody_compares_is_named(
    on_the_copy: OnTheCopy, capsys: pytest.CaptureFixture[str]
) -> None:
    up = (
        "insert into auth.users (id) values (gen_random_uuid());\n"
        "-- insert into auth.users is what this is not\n"
        "select 'delete from auth.users';\n"
        "create function public.join_in() returns void language sql\n"
        "as 'delete from auth.users where false';\n"
        "do $$ begin update storage.objects set name = name; end; $$;\n"
        "create role reader_of_the_toy;\n"
        "grant reader_of_the_toy to service_role;\n"
        "grant select (id) on public.bills to service_role;\n"
    )
    down = (
        "drop function public.join_in();\n"
        "revoke select (id) on public.bills from service_role;\n"
        "drop role reader_of_the_toy;"
    )
    found = on_the_copy.run(up, down)
    server = "what belongs to the server isn't compared"
    assert found.not_undone == (
        "line 1 writes to auth.users, whose rows nobody compares",
        "line 6 writes to storage.objects, whose rows nobody compares",
        f"line 7, create role reader_of_the_toy …: {server}",
        f"line 8, grant reader_of_the_toy to service_role …: {server}",
    )
    LineProgress().finished("rehearsal", 1.0, Evidence(rehearsal=found))
    assert f"NOT proven to be undone: {found.not_undone[0]}\n" in capsys.readouterr().out


SET = "do $$ begin execute format('alter database %I set work_mem = ''5MB''', current_database());"
RESET = "do $$ begin execute format('alter database %I reset work_mem', current_database());"
SLOWER = (
    "do $$ begin execute format('alter database %I set work_mem = ''6MB''', current_database());"
)
END = " end; $$;"
SETTING = "setting work_mem of this database"


class TestLive:
    """The rollback of a deploy that changed a setting of the live database."""

    @pytest.fixture
    def deployed(self, shop: Database, toy: Toy) -> Database:
        toy.gap(UP_SQL + SET + END, DOWN_SQL + RESET + END)
        deploy_toy(toy.plan(shop))
        return shop

    def test_it_is_recorded_and_put_back(self, deployed: Database, toy: Toy) -> None:
        session = deployed.connect(autocommit=True)
        entry = latest(read_entries(session), Kind.DEPLOY)
        assert entry is not None
        around = whole(session, entry).evidence["around"]
        assert around == {SETTING: [None, "5MB"]}
        roll_back(toy.plan(deployed), archive=False)
        assert self.work_mem(deployed) == "4MB"

    @pytest.mark.parametrize(
        ("script", "said"),
        [
            (DOWN_SQL, f"{SETTING} is there (5MB), and was not"),
            (DOWN_SQL + SLOWER + END, f"{SETTING} is there (6MB), and was not"),
            (
                DOWN_SQL + RESET + END + "create publication of_the_toy;",
                "publication of_the_toy is there",
            ),
        ],
        ids=["forgotten", "set otherwise", "more than asked for"],
    )
    def test_a_script_that_does_not_is_refused_in_its_transaction(
        self, deployed: Database, toy: Toy, script: str, said: str
    ) -> None:
        toy.down(script)
        before = schema_and_rows(deployed)
        with pytest.raises(Refused, match="doesn't restore what stands around the schema") as no:
            roll_back(toy.plan(deployed), archive=False, mended=True)
        assert said in no.value.happened
        assert "--mended" in no.value.todo
        assert schema_and_rows(deployed) == before
        assert self.work_mem(deployed) == "5MB"

    def test_what_others_have_changed_since_is_not_in_the_way(
        self, deployed: Database, toy: Toy
    ) -> None:
        session = deployed.connect(autocommit=True)
        session.execute(f"alter database {deployed.name} set work_mem = '7MB'")
        session.execute(f"alter database {deployed.name} set maintenance_work_mem = '70MB'")
        toy.down(DOWN_SQL)
        roll_back(toy.plan(deployed), archive=False, mended=True)
        assert self.work_mem(deployed) == "7MB"

    def test_where_an_older_pymilk_deployed_nothing_is_known(
        self, deployed: Database, toy: Toy
    ) -> None:
        superuser = deployed.connect(user="supabase_admin", autocommit=True)
        superuser.execute("set session_replication_role = replica")
        superuser.execute("update pymilk.events set evidence = evidence - 'around'")
        toy.down(DOWN_SQL)
        roll_back(toy.plan(deployed), archive=False, mended=True)
        assert self.work_mem(deployed) == "5MB"

    @staticmethod
    def work_mem(database: Database) -> str:
        with psycopg.connect(database.url) as session:
            row = session.execute("show work_mem").fetchone()
        assert row is not None
        return str(row[0])
