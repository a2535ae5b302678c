"""The folder with one target's backups: finding one, and letting old ones go."""

import json
import re
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pymilk.database.connection import Target
from pymilk.database.dump import remove_unfinished
from pymilk.database.manifest import Backup, is_backup, read_backup
from pymilk.problem import Problem, UsageProblem
from pymilk.project.policy import Policy
from pymilk.project.project import Project

_STAMP = "%Y%m%dT%H%M%S.%fZ"
_STAMPED = re.compile(r"\d{8}T\d{6}\.\d{6}Z")
_PROOF = "proof.json"
_REMOVED = ".removed"


@dataclass(frozen=True)
class Proof:
    """That a backup was restored and compared, kept in its folder.

    Attributes:
        at: When.
        seconds: How long the restore took.
        rows: How many rows came back.
    """

    at: datetime
    seconds: float
    rows: int


def shelf_of(project: Project, target: Target) -> Path:
    """Where a target's backups lie; the folder need not be there."""
    return project.workspace / "backups" / target.folder_name


def new_folder(shelf: Path) -> Path:
    """The folder of a backup that begins now."""
    return shelf / datetime.now(UTC).strftime(_STAMP)


def folders(shelf: Path) -> tuple[Path, ...]:
    """The finished backups of a target, oldest first; whether they are whole isn't looked at."""
    return tuple(sorted(path for path in shelf.glob("*Z") if _STAMPED.fullmatch(path.name)))


def newest_backup(shelf: Path) -> Backup | None:
    """The newest backup of a target that is whole; altered ones don't count."""
    for folder in reversed(folders(shelf)):
        try:
            return read_backup(folder)
        except Problem:
            continue
    return None


def find_backup(shelf: Path, name: str | None) -> Path:
    """The backup that is meant: a path, the name of a folder on the shelf, or the newest whole one.

    Raises:
        UsageProblem: There is none.
    """
    if name is None:
        newest = newest_backup(shelf)
        if newest is not None:
            return newest.folder
        raise UsageProblem(
            f"There is no backup in {shelf}.",
            state="Nothing was changed.",
            todo="Name its folder or file" + _others(shelf) + ". A new one: pymilk backup",
        )
    for path in (Path(name), shelf / name):
        if path.exists():
            return path.parent if path.name == "manifest.json" else path
    begins = [folder for folder in folders(shelf) if folder.name.startswith(name)]
    if len(begins) == 1:
        return begins[0]
    raise UsageProblem(
        f"There is no backup '{name}': no such file, and none in {shelf}.",
        state="Nothing was changed.",
        todo=f"There are: {', '.join(folder.name for folder in folders(shelf)[-5:])}."
        if folders(shelf)
        else "Name its folder or file" + _others(shelf) + ".",
    )


def _others(shelf: Path) -> str:
    """Backups of other databases of this project: after a loss they may be what is wanted."""
    found = [str(folders(other)[-1]) for other in sorted(shelf.parent.glob("*")) if folders(other)]
    return f"; other databases have: {', '.join(found)}" if found else ""


def keep_proof(folder: Path, proof: Proof) -> None:
    """Note in a backup's folder that its restore was proven; a disk that is read-only is let be."""
    try:
        (folder / _PROOF).write_text(json.dumps(asdict(proof), default=str), encoding="utf-8")
    except OSError:
        return


def proof_of(folder: Path) -> Proof | None:
    """When a backup's restore was last proven, if it was."""
    try:
        kept = json.loads((folder / _PROOF).read_text(encoding="utf-8"))
        return Proof(datetime.fromisoformat(kept["at"]), kept["seconds"], kept["rows"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def tidy(shelf: Path, policy: Policy, now: datetime) -> tuple[str, ...]:
    """Let old backups go, and what killed runs have left; gives the names of those that went.

    Kept are the newest few, all of the last days, and the newest one whose restore was proven.
    """
    remove_unfinished(shelf)
    for left in shelf.glob(f"*{_REMOVED}"):
        shutil.rmtree(left, ignore_errors=True)
    going = outdated(folders(shelf), policy, now)
    for folder in going:
        # By another name first: half of a backup must not be taken for one.
        removed = folder.with_name(folder.name + _REMOVED)
        folder.rename(removed)
        shutil.rmtree(removed, ignore_errors=True)
    return tuple(folder.name for folder in going)


def outdated(shelved: Iterable[Path], policy: Policy, now: datetime) -> tuple[Path, ...]:
    """The backups that need not be kept any longer, oldest first."""
    ordered = sorted(shelved)
    proven = next((folder for folder in reversed(ordered) if proof_of(folder)), None)
    young = now - timedelta(days=policy.keep_backups_days)
    return tuple(
        folder
        for folder in ordered[: -policy.keep_backups]
        if folder != proven
        and is_backup(folder)
        and datetime.strptime(folder.name, _STAMP).replace(tzinfo=UTC) < young
    )
