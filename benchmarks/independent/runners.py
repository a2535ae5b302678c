"""Migrations of one table and one function each, as each tool has them, and how it runs them."""

import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from independent.command import Ended, run
from independent.server import LOOPBACK, OWNER, ROOT

_PEERS = ROOT / ".pymilk" / "peers"
_PYTHON = _PEERS / "python" / "bin" / "python"
_LIQUIBASE = _PEERS / "node/node_modules/liquibase/dist/liquibase/liquibase"
_SUPABASE = "supabase-*/node_modules/@supabase/cli-linux-x64/bin/supabase"
_HERE = Path(__file__).resolve().parent

BASELINE = "create table public.first (id integer primary key);\n"
"""What is there before, which pymilk adopts."""


def up(number: int) -> str:
    """A migration: a table and a function."""
    return (
        f"create table public.t{number} (\n"
        "  id integer primary key,\n  name text not null,\n  at timestamptz default now()\n);\n"
        f"create function public.f{number}() returns integer language sql as 'select {number}';\n"
    )


def down(number: int) -> str:
    """What undoes it."""
    return f"drop function public.f{number}();\ndrop table public.t{number};\n"


def verify(number: int) -> str:
    """Fails where it is not in effect."""
    return (
        f"select 1 / (public.f{number}() = {number})::integer;\nselect id from public.t{number};\n"
    )


def name(number: int) -> str:
    """Of a migration."""
    return f"step_{number:03d}"


def stem(number: int) -> str:
    """A migration's name with a version before it."""
    return f"20250101{number:06d}_{name(number)}"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_pymilk(folder: Path, count: int) -> None:
    """With rollbacks and verifications."""
    _write(
        folder / "supabase/migrations/20250101000000_baseline.sql",
        f"-- irreversible: the history starts here\n{BASELINE}",
    )
    for number in range(1, count + 1):
        for kind, text in (("migrations", up), ("rollbacks", down), ("verify", verify)):
            _write(folder / "supabase" / kind / f"{stem(number)}.sql", text(number))


def _write_plain(folder: Path, count: int) -> None:
    for number in range(1, count + 1):
        _write(folder / f"{stem(number)}.sql", up(number))


def _write_supabase(folder: Path, count: int) -> None:
    _write_plain(folder / "supabase/migrations", count)
    _write(folder / "supabase/config.toml", 'project_id = "bench"\n')


def _write_alembic(folder: Path, count: int) -> None:
    _write(folder / "alembic.ini", "[alembic]\nscript_location = %(here)s/scripts\n")
    _write(
        folder / "scripts/env.py",
        "import os\nfrom alembic import context\nfrom sqlalchemy import create_engine\n"
        "with create_engine(os.environ['BENCH_URL']).connect() as connection:\n"
        "    context.configure(connection=connection, transaction_per_migration=True)\n"
        "    with context.begin_transaction():\n        context.run_migrations()\n",
    )
    for number in range(1, count + 1):
        before = repr(name(number - 1)) if number > 1 else None
        _write(
            folder / "scripts/versions" / f"{name(number)}.py",
            f"from alembic import op\nrevision = {name(number)!r}\ndown_revision = {before}\n"
            f"def upgrade():\n    op.execute({up(number)!r})\n"
            f"def downgrade():\n    op.execute({down(number)!r})\n",
        )


def _write_sqitch(folder: Path, count: int) -> None:
    plan = ["%syntax-version=1.0.0", "%project=bench", ""]
    for number in range(1, count + 1):
        plan.append(f"{name(number)} 2025-01-01T00:00:00Z Bench <bench@example.org> # one")
        for kind, text in (("deploy", up), ("revert", down), ("verify", verify)):
            _write(folder / kind / f"{name(number)}.sql", f"begin;\n{text(number)}commit;\n")
    _write(folder / "sqitch.plan", "\n".join(plan) + "\n")
    _write(folder / "sqitch.conf", "[core]\n\tengine = pg\n")


def _write_liquibase(folder: Path, count: int) -> None:
    changes = "".join(
        f"\n--changeset bench:{name(number)} splitStatements:false\n{up(number)}"
        for number in range(1, count + 1)
    )
    _write(folder / "changelog.sql", f"--liquibase formatted sql\n{changes}")


def _on_loopback(database: str) -> str:
    return f"postgresql://{OWNER}@{LOOPBACK}:5432/{database}"


@dataclass(frozen=True)
class Runner:
    """A tool that brings a database up to date.

    Attributes:
        write: Writes so many migrations into a folder.
        command: What brings a database, by its name, up to date with a folder.
        environment: For that.
        installed: Whether it is here.
    """

    write: Callable[[Path, int], None]
    command: Callable[[str, Path], list[str]]
    installed: bool = True
    environment: Callable[[str], Mapping[str, str]] = lambda _: {}

    def run(self, database: str, folder: Path) -> Ended:
        """Bring it up to date."""
        environment = {"HOME": str(folder), "NO_COLOR": "1", **self.environment(database)}
        return run(self.command(database, folder), folder, **environment)


def _sqitch(*options: str) -> Runner:
    return Runner(
        _write_sqitch,
        lambda database, _: [
            "sqitch", "deploy", *options, f"db:pg://{OWNER}@{LOOPBACK}:5432/{database}",
        ],
        shutil.which("sqitch") is not None,
        lambda _: {"SQITCH_FULLNAME": "Bench", "SQITCH_EMAIL": "bench@example.org"},
    )  # fmt: skip


def _supabase() -> Path:
    found = sorted((ROOT / ".pymilk" / "tools").glob(_SUPABASE))
    return found[-1] if found else Path("supabase-is-not-here")


RUNNERS: dict[str, Runner] = {
    "minimal": Runner(
        _write_plain,
        lambda database, folder: [
            sys.executable, str(_HERE / "minimal_runner.py"), _on_loopback(database), str(folder),
        ],
    ),
    "Alembic": Runner(
        _write_alembic,
        lambda _, __: [str(_PYTHON), "-m", "alembic", "upgrade", "head"],
        _PYTHON.exists(),
        lambda database: {"BENCH_URL": _on_loopback(database).replace("ql:", "ql+psycopg:")},
    ),
    "Sqitch": _sqitch(),
    "Sqitch with verify": _sqitch("--verify"),
    "Supabase CLI": Runner(
        _write_supabase,
        lambda database, folder: [
            str(_supabase()), "db", "push", "--db-url", _on_loopback(database),
            "--workdir", str(folder), "--yes",
        ],
        _supabase().exists(),
    ),
    "Liquibase": Runner(
        _write_liquibase,
        lambda database, _: [
            str(_LIQUIBASE), "update", "--changelog-file=changelog.sql", f"--username={OWNER}",
            "--password=none", f"--url=jdbc:postgresql://{LOOPBACK}:5432/{database}",
        ],
        _LIQUIBASE.exists() and shutil.which("java") is not None,
    ),
}  # fmt: skip
"""Who else does it, and how."""
