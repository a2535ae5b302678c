"""Where a project is, and what git says of it."""

import subprocess
from pathlib import Path

import pytest

from pymilk.problem import UsageProblem
from pymilk.project.project import load_project, revision


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "supabase" / "migrations").mkdir(parents=True)
    (tmp_path / "supabase" / "migrations" / "1_a.sql").write_text("select 1;")
    return tmp_path


def git(root: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    subprocess.run(
        ["git", *identity, "-C", str(root), *arguments],  # noqa: S607 - the user's own git
        check=True,
        capture_output=True,
    )


@pytest.fixture
def committed(root: Path) -> Path:
    git(root, "init", "--quiet")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", "first")
    return root


def test_the_project_is_the_nearest_folder_above(root: Path) -> None:
    inner = root / "app" / "src"
    inner.mkdir(parents=True)
    assert load_project(inner).root == root.resolve()
    assert load_project(root / "supabase" / "migrations").root == root.resolve()


def test_where_no_project_is(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="No project here") as refused:
        load_project(tmp_path)
    assert "--project" in refused.value.todo


def test_a_folder_that_does_not_exist_is_no_project(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="No project here"):
        load_project(tmp_path / "nowhere")


@pytest.mark.parametrize("text", ["[tool.pymilk", "a = \x00", "tool = 3\n[tool.pymilk]\na = 1"])
def test_a_pyproject_that_is_no_toml_is_named(root: Path, text: str) -> None:
    (root / "pyproject.toml").write_text(text)
    with pytest.raises(UsageProblem, match=r"pyproject\.toml can't be read"):
        load_project(root)


@pytest.mark.parametrize("text", ["", "tool = 3", "[tool]\npymilk = 3", "[tool.other]\na = 1"])
def test_a_pyproject_without_settings_gives_none(root: Path, text: str) -> None:
    (root / "pyproject.toml").write_text(text)
    assert load_project(root).settings == {}


def test_queries_are_read_from_the_folders_that_are_set(root: Path) -> None:
    (root / "pyproject.toml").write_text('[tool.pymilk]\ninvariants = "checks"\n')
    (root / "checks").mkdir()
    (root / "checks" / "b.sql").write_text("select 2;")
    (root / "checks" / "a.sql").write_text("select 1;")
    found = load_project(root)
    assert [query.path.stem for query in found.invariants] == ["a", "b"]
    assert found.state == ()


def test_outside_git_there_is_no_revision(root: Path) -> None:
    found = revision(load_project(root))
    assert (found.commit, found.uncommitted, found.unknown) == (None, (), None)


def test_a_repository_of_somebody_else_is_told_in_gits_own_words(
    committed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container, or where CI runs as another user than the one who checked out."""
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    found = revision(load_project(committed))
    assert found.commit is None
    assert (found.unknown or "").startswith("detected dubious ownership in repository at '")
    assert "git config --global --add safe.directory" in (found.unknown or "")


def test_without_git_it_says_so(committed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(committed))
    assert revision(load_project(committed)).unknown == "there is no program 'git' here"


def test_a_committed_project_has_its_commit(committed: Path) -> None:
    found = revision(load_project(committed))
    assert found.commit is not None
    assert len(found.commit) == 40
    assert found.uncommitted == ()


def test_a_repository_without_a_commit_has_no_revision(root: Path) -> None:
    git(root, "init", "--quiet")
    assert revision(load_project(root)).commit is None


def test_uncommitted_sql_is_listed_and_nothing_else(committed: Path) -> None:
    (committed / "supabase" / "migrations" / "1_a.sql").write_text("select 2;")
    (committed / "supabase" / "migrations" / "2_neu ä.sql").write_text("select 3;")
    (committed / "sql" / "state").mkdir(parents=True)
    (committed / "sql" / "state" / "s.sql").write_text("select 1;")
    (committed / "supabase" / "migrations" / "3_staged.sql").write_text("select 4;")
    git(committed, "add", "supabase/migrations/3_staged.sql")
    (committed / "README.md").write_text("new")
    assert revision(load_project(committed)).uncommitted == (
        "supabase/migrations/1_a.sql",
        "supabase/migrations/3_staged.sql",
        "sql/",
        "supabase/migrations/2_neu ä.sql",
    )


def test_what_git_ignores_is_listed_where_the_project_uses_it(committed: Path) -> None:
    supabase = committed / "supabase"
    (committed / ".gitignore").write_text(
        "2_*\n*.tmp.sql\n/supabase/verify/\nseed.sql\n/sql/state\n"
    )
    (supabase / "migrations" / "2_b.sql").write_text("select 2;")
    (supabase / "verify").mkdir()
    (supabase / "verify" / "1_a.sql").write_text("select 1;")
    (committed / "sql" / "state").mkdir(parents=True)
    (committed / "sql" / "state" / "owed.sql").write_text("select 1;")
    # What no deploy looks at may be ignored: no migration by its name, and nothing of ours.
    (supabase / "migrations" / "try.tmp.sql").write_text("select 3;")
    (supabase / "seed.sql").write_text("select 4;")
    found = revision(load_project(committed))
    ignored = (*("sql/state/owed.sql", "supabase/migrations/2_b.sql", "supabase/verify/1_a.sql"),)
    assert found.ignored == found.uncommitted == ignored


def test_what_is_ignored_and_committed_all_the_same_is_committed(committed: Path) -> None:
    (committed / ".gitignore").write_text("*.sql\n")
    assert revision(load_project(committed)).uncommitted == ()


def test_a_project_inside_a_bigger_repository(committed: Path) -> None:
    inner = committed / "backend"
    (inner / "supabase" / "migrations").mkdir(parents=True)
    git(committed, "add", ".")
    assert revision(load_project(inner)).uncommitted == ()
    (inner / "supabase" / "migrations" / "1_b.sql").write_text("select 1;")
    assert revision(load_project(inner)).uncommitted == ("backend/supabase/",)
