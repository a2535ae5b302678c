"""What this machine refuses (a full disk, a folder that is only read), as a person is told it."""

import errno
import os
import sys

from pymilk.cli.under_way import state_of_the_change
from pymilk.problem import Problem

_AGAIN = "then run it again."
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_OURS = {errno.EACCES, errno.EPERM}
_TODO = {
    **dict.fromkeys(_FULL, f"Make room there, {_AGAIN}"),
    errno.EROFS: "Work on a copy of the project in a place that can be written to; --project"
    " names it.",
    **dict.fromkeys(
        _NOT_OURS, f"Run it as the user to whom that belongs, or let this one in, {_AGAIN}"
    ),
}
_WRITING = {*_FULL, errno.EROFS}


def problem_of(error: OSError) -> Problem:
    """What is told of an error of this machine that no command expected."""
    why = error.strerror or str(error)
    if error.filename is None and _output_is_lost():
        return Problem(
            f"What it had to say can't be written: {why}.",
            state=state_of_the_change("What it had done by then is done."),
            todo="Make room where its output goes. 'pymilk status' and 'pymilk history' show what"
            " was done.",
        )
    done = "written" if error.errno in _WRITING else "used"
    return Problem(
        f"{_file(error)} can't be {done}: {why}.",
        state=state_of_the_change(
            "No deploy or rollback was under way: no live database was changed."
        ),
        todo=_TODO.get(error.errno or 0, f"See what is there, mend it, {_AGAIN}"),
    )


def give_up_output() -> None:
    """Say nothing more: nobody takes it, and Python would complain of it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _output_is_lost() -> bool:
    """Whether our own output takes nothing any more; its errors name no file, so it is tried."""
    try:
        sys.stdout.flush()
        os.write(sys.stdout.fileno(), b"\n")
    except OSError:
        give_up_output()
        return True
    return False


def _file(error: OSError) -> str:
    name = error.filename
    return os.fsdecode(name) if isinstance(name, str | bytes) else "A file"
