"""Any number of small steps, one table and one function each, as every tool wants them written.

Each tool gets the same SQL for the way there, the way back and, where it knows such a thing, the
verification. A tool is one command that deploys whatever is pending; so deploying 200, deploying
one more and finding nothing to do are the same command in three situations.
"""

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from psycopg import conninfo

_HERE = Path(__file__).resolve().parent
_INSTALLED = _HERE.parents[1] / ".pymilk" / "peers"
_TOOLS = _HERE.parents[1] / ".pymilk" / "tools"

BASELINE = "create table public.dairies (id integer primary key, name text not null);\n"
_BASELINE_STEM = "20250901000000_baseline"


def up(number: int) -> str:
    """The way there."""
    return (
        f"create table public.cans_{number:03} (\n"
        "  id bigint generated always as identity primary key,\n"
        "  name text not null,\n"
        "  litres numeric(10, 2) not null default 0\n"
        ");\n"
        f"create function public.litres_in_cans_{number:03}() returns numeric\n"
        "language sql stable\n"
        f"as $$ select coalesce(sum(c.litres), 0) from public.cans_{number:03} as c $$;\n"
    )


def down(number: int) -> str:
    """The way back."""
    return (
        f"drop function public.litres_in_cans_{number:03}();\ndrop table public.cans_{number:03};\n"
    )


def verify(number: int) -> str:
    """Fails unless it is in effect."""
    return f"select 1 / (1 - public.litres_in_cans_{number:03}());\n"


def stem(number: int) -> str:
    """The name of a step's files, with its version in front."""
    return f"20250902{number:06}_step_{number:03}"


@dataclass(frozen=True)
class Tool:
    """A tool that deploys.

    Attributes:
        name: What it is called in the table.
        lay: Writes its project with so many steps into a folder.
        command: Deploys what is pending of the project in a folder onto the database of a URL.
        needs: What has to be there for it; None where it can't be had.
        by_tcp: Whether it knows no other way to a server than TCP.
        environment: What it is told beside that.
    """

    name: str
    lay: Callable[[Path, int], None]
    command: Callable[[Path, str], list[str]]
    needs: str | None
    by_tcp: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_there(self) -> bool:
        """Whether it is installed."""
        return self.needs is not None and shutil.which(self.needs) is not None


def lay_supabase(root: Path, steps: int) -> None:
    """The folders of pymilk; the Supabase CLI reads the first."""
    _write(root / "supabase" / "migrations" / f"{_BASELINE_STEM}.sql", BASELINE)
    for number in range(1, steps + 1):
        for folder, text in (("migrations", up), ("rollbacks", down), ("verify", verify)):
            _write(root / "supabase" / folder / f"{stem(number)}.sql", text(number))


def _lay_dbmate(root: Path, steps: int) -> None:
    for number in range(1, steps + 1):
        text = f"-- migrate:up\n{up(number)}\n-- migrate:down\n{down(number)}"
        _write(root / "db" / "migrations" / f"{stem(number)}.sql", text)


def _lay_yoyo(root: Path, steps: int) -> None:
    for number in range(1, steps + 1):
        _write(root / "steps" / f"{stem(number)}.sql", up(number))
        _write(root / "steps" / f"{stem(number)}.rollback.sql", down(number))


def _lay_alembic(root: Path, steps: int) -> None:
    _write(root / "alembic.ini", "[alembic]\nscript_location = %(here)s/scripts\n")
    _write(root / "scripts" / "env.py", _ALEMBIC_ENVIRONMENT)
    for number in range(1, steps + 1):
        before = f"'{number - 1:03}'" if number > 1 else "None"
        text = (
            f"from alembic import op\n\nrevision = '{number:03}'\ndown_revision = {before}\n\n\n"
            f'def upgrade():\n    op.execute("""{up(number)}""")\n\n\n'
            f'def downgrade():\n    op.execute("""{down(number)}""")\n'
        )
        _write(root / "scripts" / "versions" / f"{number:03}_step.py", text)


_ALEMBIC_ENVIRONMENT = """\
import os

from alembic import context
from sqlalchemy import create_engine, pool

engine = create_engine(os.environ["BENCHMARK_URL"], poolclass=pool.NullPool)
with engine.connect() as connection:
    # A transaction for each, as all the others have it.
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
"""


def _lay_sqitch(root: Path, steps: int) -> None:
    _write(root / "sqitch.conf", "[core]\n  engine = pg\n")
    plan = ["%syntax-version=1.0.0", "%project=many", ""]
    for number in range(1, steps + 1):
        name = f"step_{number:03}"
        plan.append(f"{name} 2025-09-02T00:00:00Z Nobody <nobody@example.com> # one more")
        _write(root / "deploy" / f"{name}.sql", f"begin;\n{up(number)}commit;\n")
        _write(root / "revert" / f"{name}.sql", f"begin;\n{down(number)}commit;\n")
        _write(root / "verify" / f"{name}.sql", f"begin;\n{verify(number)}rollback;\n")
    (root / "sqitch.plan").write_text("\n".join(plan) + "\n", encoding="utf-8")


def _lay_liquibase(root: Path, steps: int) -> None:
    parts = ["--liquibase formatted sql\n"]
    for number in range(1, steps + 1):
        back = "".join(f"--rollback {line}\n" for line in down(number).splitlines())
        parts.append(f"--changeset nobody:{number} splitStatements:false\n{up(number)}{back}")
    (root / "steps.sql").write_text("\n".join(parts), encoding="utf-8")


def _write(path: Path, text: str) -> None:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def url_by_parts(url: str, scheme: str = "postgresql") -> str:
    """The same place, spelled as those want it who don't know libpq's way."""
    parts = conninfo.conninfo_to_dict(url)
    user, database = quote(str(parts["user"])), quote(str(parts["dbname"]))
    host = str(parts["host"])
    if host.startswith("/"):
        return f"{scheme}://{user}@/{database}?host={quote(host, safe='/')}"
    return f"{scheme}://{user}@{host}:{parts['port']}/{database}?sslmode=disable"


def _jdbc(url: str) -> str:
    parts = conninfo.conninfo_to_dict(url)
    return f"jdbc:postgresql://{parts['host']}:{parts['port']}/{parts['dbname']}"


def _found(pattern: str) -> str | None:
    return next((str(path) for path in sorted(_INSTALLED.glob(pattern))), None)


def _alembic(root: Path, url: str) -> list[str]:
    program = str(_INSTALLED / "python" / "bin" / "alembic")
    where = url_by_parts(url, "postgresql+psycopg")
    return ["env", f"BENCHMARK_URL={where}", program, "-c", str(root / "alembic.ini"), *_HEAD]


_HEAD = ("upgrade", "head")
_YOYO = str(_INSTALLED / "python" / "bin" / "yoyo")
_DBMATE = _found("node/node_modules/@dbmate/*/bin/dbmate")
_LIQUIBASE = _found("node/node_modules/liquibase/dist/liquibase/liquibase")
_SUPABASE = next((str(path) for path in sorted(_TOOLS.glob("supabase-*/**/bin/supabase"))), None)

MINIMAL = Tool(
    "the minimal runner",
    lay_supabase,
    lambda root, url: [sys.executable, str(_HERE / "minimal.py"), url, str(root)],
    sys.executable,
)
DBMATE = Tool(
    "dbmate",
    _lay_dbmate,
    lambda root, url: [
        str(_DBMATE),
        f"--url={url_by_parts(url, 'postgres')}",
        f"--migrations-dir={root}/db/migrations",
        "--no-dump-schema",
        "migrate",
    ],
    _DBMATE,
)
ALEMBIC = Tool("Alembic", _lay_alembic, _alembic, str(_INSTALLED / "python" / "bin" / "alembic"))
YOYO = Tool(
    "yoyo",
    _lay_yoyo,
    lambda root, url: [
        _YOYO,
        "apply",
        "--batch",
        "--no-config-file",
        f"--database={url_by_parts(url, 'postgresql+psycopg')}",
        str(root / "steps"),
    ],
    _YOYO,
)
SUPABASE = Tool(
    "the Supabase CLI",
    lay_supabase,
    lambda root, url: [
        str(_SUPABASE),
        "--workdir",
        str(root),
        "db",
        "push",
        f"--remote={url_by_parts(url)}",
        "--yes",
    ],
    _SUPABASE,
    by_tcp=True,
    environment={
        "SUPABASE_TELEMETRY_DISABLED": "1",
        "DO_NOT_TRACK": "1",
        "SUPABASE_NO_UPDATE_NOTIFIER": "1",
    },
)
SQITCH = Tool(
    "Sqitch with verify",
    _lay_sqitch,
    lambda root, url: [
        "env",
        "--chdir",
        str(root),
        "sqitch",
        "--quiet",
        "deploy",
        "--verify",
        f"db:{url_by_parts(url)}",
    ],
    "sqitch",
    environment={"SQITCH_FULLNAME": "Nobody", "SQITCH_EMAIL": "nobody@example.com"},
)
LIQUIBASE = Tool(
    "Liquibase",
    _lay_liquibase,
    lambda root, url: [
        "env",
        "--chdir",
        str(root),
        str(_LIQUIBASE),
        f"--url={_jdbc(url)}",
        f"--username={conninfo.conninfo_to_dict(url)['user']}",
        "--changelog-file=steps.sql",
        "--log-level=severe",
        "update",
    ],
    _LIQUIBASE if shutil.which("java") else None,
    by_tcp=True,
)

PEERS = (DBMATE, ALEMBIC, YOYO, SUPABASE, SQITCH, LIQUIBASE)


def environment_of(tool: Tool, home: Path) -> dict[str, str]:
    """The environment that a tool runs in, with a home of its own."""
    return {**as_people_have_it(), "HOME": str(home), **tool.environment}


def as_people_have_it() -> dict[str, str]:
    """Ours, where Python keeps what it has compiled.

    Alembic's migrations are Python: where that can't be kept, it compiles 200 of them each time.
    """
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
