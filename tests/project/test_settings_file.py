"""Settings go into pyproject.toml and nothing else in it moves."""

import tomllib
from pathlib import Path

import pytest

from pymilk.problem import Problem
from pymilk.project.settings_file import keep_settings

SECTION = ("tool", "pymilk", "assess")
FILES = {
    "none": None,
    "empty": "",
    "comments": (
        "# ours\n[project]\nname = 'x'   # the name\n\n[tool.pymilk] # settings\n"
        'critical = [\n  "a",  # first\n]\n\n[tool.ruff]\nline-length=100\n'
    ),
    "its section": '[tool.pymilk.assess]\n# asked in May\nstaging = "yes"\n\n[tool.x]\na = 1\n',
    "a section apart": "[tool.pymilk]\na = 1\n[tool.x]\nb = 2\n[tool.pymilk.policy.live]\nc = 3\n",
    "windows": "[tool.x]\r\na = 1 # one\r\n",
    "no line end": "[tool.x]\na = 1",
}


@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
def test_what_else_is_there_stays(text: str | None, tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    if text is not None:
        path.write_bytes(text.encode())
        path.chmod(0o600)
    keep_settings(tmp_path, SECTION, {"staging": "no", "data": "critical"})
    now = path.read_bytes().decode()
    kept = tomllib.loads(now)["tool"]["pymilk"].pop("assess")
    assert kept == {"staging": "no", "data": "critical"}
    for line in (text or "").splitlines():
        if "staging" not in line:
            assert line in now.splitlines()
    assert ("\r\n" in now) == ("\r\n" in (text or ""))
    if text is not None:
        assert path.stat().st_mode & 0o777 == 0o600
    keep_settings(tmp_path, SECTION, {"staging": "no", "data": "critical"})
    assert path.read_bytes().decode() == now
    assert list(tmp_path.iterdir()) == [path]


UNFIT = ("[tool\n", "[tool]\npymilk = 3\n", "[tool]\npymilk = { a = 1 }\n", "\xff")


@pytest.mark.parametrize("text", UNFIT, ids=repr)
def test_what_cannot_be_written_is_told_and_the_file_stays(text: str, tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(Problem, match=r"pyproject\.toml was not changed") as refused:
        keep_settings(tmp_path, SECTION, {"staging": "no"})
    assert 'by hand, under [tool.pymilk.assess]: staging = "no"' in refused.value.todo
    assert path.read_bytes() == text.encode("latin-1")
