"""Where the data of an embedded server are: in its folder, or elsewhere when they can't be.

Elsewhere only when we are root: the unprivileged user that runs Postgres then may not be able to
reach the folder, and a note in it names a place of our own.
"""

import hashlib
import os
import shutil
from pathlib import Path

from pymilk.database import postmaster
from pymilk.database.running_as import Account, own_place
from pymilk.problem import Problem


def find_place(directory: Path) -> Path | None:
    """The place of the data of this folder's server, if one was made.

    Raises:
        Problem: the folder is another user's, or the place that it names is gone.
    """
    place = noted_place(directory)
    if place is not None and not place.exists():
        raise Problem(
            f"The data of the embedded Postgres are gone: {_note(directory)} says that they were"
            f" in {place}, which is not there any more.",
            state="No database is running.",
            todo=f"Bring {place} back, or start anew: pymilk db reset",
        )
    return place


def noted_place(directory: Path) -> Path | None:
    """The place that was made for this folder's server, whether it is still there or not.

    Raises:
        Problem: the folder is another user's.
    """
    if not directory.is_dir():
        return None
    refuse_strangers(directory)
    note = _note(directory)
    if note.exists():
        return Path(note.read_text())
    near = _near(directory)
    return near if near.exists() else None


def make_place(directory: Path, account: Account) -> Path:
    """A new place for the data of this folder's server, that the account can reach.

    What a folder of the same name, removed by hand, has left elsewhere is removed.

    Raises:
        OSError: it can't be made.
    """
    if account.reaches(directory):
        near = _near(directory)
        account.make_private(near)
        return near
    digest = hashlib.sha256(os.fsencode(directory.resolve())).hexdigest()[:16]
    place = own_place(digest)
    if place.exists():
        left_running = postmaster.serving(place / "data", place)
        if left_running is not None:
            left_running.kill()
        shutil.rmtree(place)
    account.make_private(place)
    _note(directory).write_text(str(place))
    return place


def forget_place(directory: Path) -> None:
    """Let this folder begin anew; its data must have been removed."""
    _note(directory).unlink(missing_ok=True)


def refuse_strangers(directory: Path) -> None:
    """Refuse a folder that belongs to another user.

    Raises:
        Problem: it does.
    """
    if directory.stat().st_uid != os.geteuid():
        raise unusable(directory, "it belongs to another user")


def unusable(directory: Path, why: str) -> Problem:
    """The problem that a folder can't be used, to be raised."""
    return Problem(
        f"The embedded Postgres's folder {directory} can't be used: {why}.",
        state="Nothing was started, stopped or removed.",
        todo="Give it to the user who runs this, or choose another folder.",
    )


def _near(directory: Path) -> Path:
    return directory / "server"


def _note(directory: Path) -> Path:
    return directory / "place"
