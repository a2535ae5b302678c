"""Which databases are worked on, what is shown of them, and what a lost one says."""

import socket
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo

from pymilk.database import connection as connection_module
from pymilk.database.address import address_of
from pymilk.database.connection import Target, connect, first_line, target_at, without_password
from pymilk.database.embedded import scratch
from pymilk.problem import Problem, UsageProblem
from pymilk.project.policy import Preset
from support.databases import Database
from support.sessions import wait_until_named_is_gone

SECRET = "p%40ss%2Fw%3Ard"  # noqa: S105 - a made-up one, with everything that has to be escaped
URL = f"postgresql://postgres.abc:{SECRET}@db.abc.supabase.co:5432/postgres?sslmode=require"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://postgres:x@aws-0-ap-south-1.pooler.supabase.com:6543/postgres",
        "host=pooler.supabase.com port=6543 user=postgres dbname=postgres",
        "postgresql://postgres@/postgres?host=pooler&port=6543",
        "postgresql://a@one:5432,two:6543/postgres",
    ],
)
def test_the_transaction_pooler_is_refused(url: str) -> None:
    with pytest.raises(UsageProblem, match="6543") as refused:
        target_at(url, Preset.LIVE)
    assert "5432" in refused.value.todo


def test_the_transaction_pooler_is_refused_from_the_environment_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGPORT", "6543")
    with pytest.raises(UsageProblem, match="6543"):
        target_at("postgresql://postgres@pooler.supabase.com/postgres", Preset.LIVE)


@pytest.mark.parametrize("url", ["not a url", "postgresql://[", "mysql://a@b/c", "host"])
def test_what_is_no_postgres_url_is_refused(url: str) -> None:
    with pytest.raises(UsageProblem, match="can't be read") as refused:
        target_at(url, Preset.LIVE)
    assert "postgresql://" in refused.value.todo


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://postgres:p/ss@127.0.0.1:5999/postgres",
        "postgresql://postgres:p@ss@127.0.0.1:5999/postgres",
        "postgresql://postgres:12/p@ss@127.0.0.1/postgres",
        "postgresql://postgres:p%ss@127.0.0.1:5999/postgres",
        "postgresql://postgres:pa:ss/@127.0.0.1:5999/postgres",
    ],
)
def test_a_password_that_is_not_encoded_is_refused_and_not_told(url: str) -> None:
    with pytest.raises(UsageProblem, match=r"^The database URL can't be read\.$") as refused:
        target_at(url, Preset.LIVE)
    assert "@ is written %40" in refused.value.todo


def test_a_target_shows_everything_but_the_password() -> None:
    target = target_at(URL, Preset.LIVE)
    assert target.label == "postgres.abc@db.abc.supabase.co:5432/postgres"
    assert target.folder_name == "postgres.abc_db.abc.supabase.co_5432_postgres"
    for shown in (target.label, target.folder_name, repr(target)):
        assert "p@ss" not in shown
        assert SECRET not in shown


def test_two_databases_never_share_a_folder_for_their_backups() -> None:
    names = {
        Target(url, Preset.LIVE).folder_name
        for url in (
            "postgresql://postgres@one:5432/postgres",
            "postgresql://postgres@one:5433/postgres",
            "postgresql://postgres@two:5432/postgres",
            "postgresql://other@one:5432/postgres",
            "postgresql://postgres@one:5432/other",
        )
    }
    assert len(names) == 5


SERVICES = """
[prod]
host=db.prod.example
dbname=app
user=postgres
[staging]
host=db.staging.example
dbname=app
user=postgres
[by_address]
hostaddr=192.0.2.7
port=5433
user=postgres
dbname=app
[socket]
host=/var/run/other
user=postgres
dbname=app
[pooler]
host=pooler.example
port=6543
"""


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The file of libpq's services, and nothing else in the environment that says where to go."""
    for variable in ("PGHOST", "PGHOSTADDR", "PGPORT", "PGUSER", "PGDATABASE", "PGSERVICE"):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "services").write_text(SERVICES)
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))


@pytest.mark.usefixtures("services")
@pytest.mark.parametrize(
    ("url", "label"),
    [
        ("service=prod", "postgres@db.prod.example:5432/app"),
        ("service=staging", "postgres@db.staging.example:5432/app"),
        ("postgresql://other@/?service=prod", "other@db.prod.example:5432/app"),
        ("service=by_address", "postgres@192.0.2.7:5433/app"),
        ("service=socket", "postgres@/var/run/other:5432/app"),
        ("hostaddr=192.0.2.1 user=a dbname=b", "a@192.0.2.1:5432/b"),
        ("host=named hostaddr=192.0.2.1 user=a dbname=b", "a@named:5432/b"),
        ("user=a dbname=b", "a@local socket:5432/b"),
        ("service=unknown user=a dbname=b", "a@local socket:5432/b"),
    ],
)
def test_a_label_says_where_libpq_goes(url: str, label: str) -> None:
    assert Target(url, Preset.LIVE).label == label


@pytest.mark.usefixtures("services")
@pytest.mark.parametrize(
    ("variables", "label"),
    [
        ({"PGHOST": "h", "PGPORT": "5433"}, "a@h:5433/"),
        ({"PGHOSTADDR": "192.0.2.1", "PGDATABASE": "b"}, "a@192.0.2.1:5432/b"),
        ({"PGSERVICE": "prod", "PGHOST": "not this"}, "a@db.prod.example:5432/app"),
    ],
)
def test_a_label_says_what_the_environment_adds(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], label: str
) -> None:
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    assert Target("user=a", Preset.LIVE).label == label


@pytest.mark.usefixtures("services")
def test_what_libpq_says_of_a_session_is_what_its_label_says(
    empty_database: Database, tmp_path: Path
) -> None:
    parts = conninfo.conninfo_to_dict(empty_database.url)
    lines = "".join(f"{name}={value}\n" for name, value in parts.items())
    (tmp_path / "services").write_text(f"[this]\n{lines}")
    with connect("service=this", purpose="test") as connection:
        info = connection.info
        there = (info.user, parts["host"], str(info.port), info.dbname)
    assert there[3] == empty_database.name
    for url in ("service=this", empty_database.url):
        at = address_of(url)
        assert (at.user, at.host, at.port, at.database) == there


@pytest.mark.usefixtures("services")
def test_the_transaction_pooler_is_refused_behind_a_service_too() -> None:
    with pytest.raises(UsageProblem, match="6543"):
        target_at("service=pooler", Preset.LIVE)


def test_a_service_that_nobody_knows_is_a_problem() -> None:
    with pytest.raises(Problem, match='definition of service "unknown" not found'):
        connect(target_at("service=unknown", Preset.LIVE).url, purpose="test")


@pytest.mark.parametrize(
    ("url", "folder"),
    [
        (URL, "postgres.abc_db.abc.supabase.co_5432_postgres"),
        ("postgresql://postgres@db.abc.supabase.co", "postgres_db.abc.supabase.co_5432_"),
        ("postgresql://a_b@one:5432,two:5433/c-d", "a_b_one_two_5432_5433_c-d"),
        ("postgresql://postgres@/x?host=/tmp/pymilk-0123456789abcdef&port=5432", "x__embedded"),
        ("host=/tmp/pymilk-0123456789abcdef", "postgres__embedded"),
    ],
)
@pytest.mark.usefixtures("services")
def test_backups_are_found_where_they_have_always_been(url: str, folder: str) -> None:
    assert Target(url, Preset.LIVE).folder_name == folder.strip("_")


def test_embedded_is_what_we_have_embedded() -> None:
    with scratch() as server:
        assert Target(server.url(), Preset.LOCAL).label == "postgres (embedded)"
    for host in ("/tmp/s", "/var/run/postgresql", "/tmp/pymilk-mine"):  # noqa: S108 - names alone
        named = Target(f"postgresql://postgres@/x?host={host}", Preset.LOCAL)
        assert named.label == f"postgres@{host}:5432/x"


@pytest.mark.usefixtures("services")
def test_two_sockets_never_share_a_folder_for_their_backups() -> None:
    names = [
        Target(url, Preset.LIVE).folder_name
        for url in (
            "host=/var/run/a port=5432 user=postgres dbname=postgres",
            "host=/var/run/a port=5433 user=postgres dbname=postgres",
            "host=/var/run_a port=5432 user=postgres dbname=postgres",
            "host=/var/run/b port=5432 user=postgres dbname=postgres",
            "host=/tmp/pymilk-0123456789abcdef user=postgres dbname=postgres",
            "port=5432 user=postgres dbname=postgres",
            "service=prod",
            "service=staging",
        )
    ]
    assert len(set(names)) == len(names)
    assert not any(set(name) & set("/@: ") for name in names)


def test_a_password_goes_into_the_environment_whole() -> None:
    shown, secret = without_password(URL)
    assert secret == {"PGPASSWORD": "p@ss/w:rd"}
    assert "p@ss" not in shown
    assert "sslmode=require" in shown
    assert without_password("postgresql://a@b/c")[1] == {}


def test_a_database_that_does_not_answer_is_a_problem_with_its_state() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        with pytest.raises(Problem, match="Can't connect") as failed:
            connect(f"postgresql://postgres:geheim@127.0.0.1:{port}/postgres", purpose="test")
    assert "Connection refused" in failed.value.happened
    assert "geheim" not in str(failed.value)
    assert failed.value.state.startswith("Nothing was changed")
    assert failed.value.exit_code == 1


@pytest.mark.parametrize(
    "url", ["postgresql://postgres@127.0.0.1:notaport/postgres", "postgresql://a@b:99999/c"]
)
def test_a_port_that_is_none_is_a_problem(url: str) -> None:
    with pytest.raises(Problem):
        connect(target_at(url, Preset.LIVE).url, purpose="test")


def test_an_unknown_database_is_a_problem(empty_database: Database) -> None:
    url = empty_database.server.url("no_such_database", "postgres")
    with pytest.raises(Problem, match="does not exist"):
        connect(url, purpose="test")


def test_a_session_that_cannot_be_set_up_is_closed_and_told(empty_database: Database) -> None:
    owner = empty_database.connect(user="supabase_admin", autocommit=True)
    owner.execute("revoke execute on function set_config(text, text, boolean) from public")
    with pytest.raises(Problem, match="can't be set up: permission denied") as failed:
        connect(empty_database.url, purpose="in vain")
    # Asked while the error, and with it whatever the frames of its traceback hold, is alive.
    wait_until_named_is_gone(owner, "pymilk in vain")
    assert failed.value.state.startswith("Nothing was changed")


def test_interrupted_while_it_is_set_up_no_session_stays(
    empty_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_connection: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(connection_module, "_set_up", interrupt)
    with pytest.raises(KeyboardInterrupt) as interrupted:
        connect(empty_database.url, purpose="in vain")
    assert interrupted.traceback
    wait_until_named_is_gone(empty_database.connect(autocommit=True), "pymilk in vain")


def test_a_session_says_what_it_is_for(empty_database: Database) -> None:
    with connect(empty_database.url, purpose="deploy 001") as connection:
        shown = connection.execute("select current_setting('application_name')").fetchone()
    assert shown == ("pymilk deploy 001",)


def test_reading_waits_for_nobody_for_ever(
    empty_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "_LOCK_TIMEOUT", "50ms")
    owner = empty_database.connect(autocommit=True)
    owner.execute("create table public.a (b int)")
    with owner.transaction(), connect(empty_database.url, purpose="test") as reader:
        owner.execute("lock table public.a in access exclusive mode")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            reader.execute("select from public.a")


def test_the_sentence_that_matters_of_an_error() -> None:
    assert first_line(ValueError("one\n  two\n\n")) == "one"
    assert first_line(ValueError()) == "ValueError"
