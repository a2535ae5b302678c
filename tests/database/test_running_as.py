"""Postgres runs as somebody who is not root, and who reaches the programs that it needs."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pymilk.database import running_as
from pymilk.database.programs import Programs, copy_programs, find_programs


@pytest.fixture
def own_places(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A stand-in for /var/lib/pymilk."""
    with tempfile.TemporaryDirectory(prefix="pymilk-test-") as folder:
        Path(folder).chmod(0o711)
        places = Path(folder) / "pymilk"
        monkeypatch.setattr(running_as, "OWN_PLACES", places)
        yield places


@pytest.fixture
def private_programs(tmp_path: Path) -> Programs:
    """The programs in a folder that only we can enter."""
    tmp_path.chmod(0o700)
    return copy_programs(find_programs(), tmp_path / "site-packages")


def test_nobody_runs_postgres_as_root() -> None:
    account = running_as.server_account()
    assert account.uid != 0
    assert account.is_ours == (account.uid == os.geteuid())


def test_programs_in_a_private_folder_are_run_all_the_same(
    private_programs: Programs, own_places: Path
) -> None:
    """As root from a copy, made once; otherwise as they are."""
    account = running_as.server_account()
    reached = running_as.programs_reached_by(account, private_programs)
    for name in ("postgres", "initdb", "pg_ctl"):
        ran = account.run([reached.path(name), "--version"], cwd=Path("/"), timeout=30)
        assert ran.returncode == 0, ran.stderr
    if account.is_ours:
        assert reached == private_programs
        assert not own_places.exists()
    else:
        assert len(list(own_places.iterdir())) == 1
        assert running_as.programs_reached_by(account, private_programs) == reached
        assert len(list(own_places.iterdir())) == 1
