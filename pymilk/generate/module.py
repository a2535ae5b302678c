"""Reading a database, and writing what that makes of its functions."""

from dataclasses import dataclass
from pathlib import Path

from pymilk.database.connection import Connection
from pymilk.generate.catalog import read_catalog
from pymilk.generate.render import render_calls, render_refusals
from pymilk.generate.routines import LeftOut, outline
from pymilk.problem import UsageProblem
from pymilk.project.whole_file import write_whole


@dataclass(frozen=True)
class Wanted:
    """What is to be written, and where.

    Attributes:
        schema: Whose functions.
        module: The file of the calls.
        refusals: The file of the refusals' classes; None puts them into the module of the calls.
    """

    schema: str
    module: Path
    refusals: Path | None


@dataclass(frozen=True)
class File:
    """A file as it has to be.

    Attributes:
        path: Where.
        text: What is to be in it.
    """

    path: Path
    text: str

    @property
    def is_current(self) -> bool:
        """Whether that is in it."""
        return self.path.is_file() and self.path.read_text(encoding="utf-8") == self.text


@dataclass(frozen=True)
class Generated:
    """What the database makes of it.

    Attributes:
        files: Each file as it has to be.
        functions: How many functions are in it.
        left_out: Those that are not, and why.
    """

    files: tuple[File, ...]
    functions: int
    left_out: tuple[LeftOut, ...]


def generate(connection: Connection, wanted: Wanted, root: Path) -> Generated:
    """Make the module of a database's functions.

    Args:
        connection: The database.
        wanted: What is to be written.
        root: The folder that importing starts from, to name one module in the other.

    Raises:
        UsageProblem: There is no such schema, or the two files aren't in one project.
    """
    found = outline(read_catalog(connection, wanted.schema))
    files = []
    importable = None
    if wanted.refusals is not None:
        importable = _importable(wanted.refusals, root)
        files.append(File(wanted.refusals, render_refusals(found)))
    files.append(File(wanted.module, render_calls(found, importable)))
    return Generated(tuple(files), len(found.routines), found.left_out)


def write(generated: Generated) -> tuple[Path, ...]:
    """Write the files that aren't current; gives those."""
    stale = tuple(file for file in generated.files if not file.is_current)
    for file in stale:
        file.path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file.path, file.text.encode())
    return tuple(file.path for file in stale)


def _importable(path: Path, root: Path) -> str:
    try:
        inside = path.resolve().relative_to(root.resolve())
    except ValueError as error:
        raise UsageProblem(
            f"{path} is outside of {root}, so the calls can't import it.",
            state="No file was written.",
            todo="Put both files into the project.",
        ) from error
    return ".".join(inside.with_suffix("").parts)
