"""docs/runbook.md, command by command, on real servers: it must be true at 23:00."""

import gzip
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pymilk.database.connection import Target
from pymilk.database.programs import find_programs
from pymilk.project.policy import Preset
from support.commands import environment, run
from support.databases import Database, Templates

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = [
    line.strip()
    for block in re.findall(
        r"```sh\n(.*?)```", (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8"), re.DOTALL
    )
    for line in block.splitlines()
    if line.strip()
]


@pytest.fixture
def new_project(templates: Templates) -> Iterator[Database]:
    with templates.clone("empty") as database:
        yield database


def test_there_are_commands_to_run() -> None:
    assert len(COMMANDS) == 11


@pytest.mark.long
def test_every_command_does_what_it_says(
    dairy: Database, new_project: Database, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    shutil.copytree(ROOT / "supabase", project / "supabase")
    shutil.copytree(ROOT / "sql", project / "sql")
    shutil.copy(ROOT / "pyproject.toml", project)
    file = tmp_path / "dashboard.sql"
    dump = str(find_programs().path("pg_dump"))
    subprocess.run([dump, f"--dbname={dairy.url}", f"--file={file}"], check=True)
    packed = tmp_path / "dashboard.backup.gz"
    packed.write_bytes(gzip.compress(file.read_bytes()))
    variables = {
        "SUPABASE_DB_URL": dairy.url,
        "NEW_DB_URL": new_project.url,
        "DASHBOARD_FILE": str(packed),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    names = dairy.connect(autocommit=True)
    before = names.execute("select * from public.routes order by id").fetchall()
    shelf = project / ".pymilk" / "backups" / Target(dairy.url, Preset.LIVE).folder_name
    try:
        for command in COMMANDS:
            if "--table" in command:
                variables["BACKUP"] = min(each.name for each in shelf.iterdir())
            if "--over" in command:
                names.execute("update public.routes set name = 'damaged ' || id")
            done = subprocess.run(
                ["bash", "-c", command],  # noqa: S607 - the user's own shell
                cwd=project,
                env=environment(variables),
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, (command, done.stdout, done.stderr)
    finally:
        run("db", "stop", cwd=project)
    assert names.execute("select * from public.routes order by id").fetchall() == before
    restored = new_project.connect(autocommit=True)
    assert restored.execute("select count(*) from public.customers").fetchone() == (154,)
