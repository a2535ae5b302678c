"""What tests cost: the processor time of a process, its children, and its Postgres.

Not time by the clock: on a busy machine that says what the others do.
"""

import os
from collections.abc import Iterator
from pathlib import Path

_PROCESSES = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
# In /proc/…/stat, counted from behind the name: the parent, then what was used by the process
# (user, system) and by its children that have ended.
_PARENT, _USED = 1, slice(11, 15)


def parent_of(process: int) -> int:
    """The parent of a running process: of a session's, that is the server.

    Raises:
        OSError: there is no such process, or no /proc.
    """
    return int(_stat(process)[_PARENT])


def spent_by(*roots: int) -> float:
    """Seconds of processor time of these processes and all that descend from them, ended or not."""
    children: dict[int, list[int]] = {}
    used: dict[int, float] = {}
    for process, parent, seconds in _all():
        children.setdefault(parent, []).append(process)
        used[process] = seconds
    found, todo = set[int](), list(roots)
    while todo:
        process = todo.pop()
        if process not in found:
            found.add(process)
            todo += children.get(process, [])
    return sum(used.get(process, 0.0) for process in found)


def _all() -> Iterator[tuple[int, int, float]]:
    for path in _PROCESSES.iterdir():
        if path.name.isdecimal():
            try:
                fields = _stat(int(path.name))
            except OSError:
                continue  # ended meanwhile
            yield int(path.name), int(fields[_PARENT]), sum(map(int, fields[_USED])) / _TICKS


def _stat(process: int) -> list[str]:
    text = (_PROCESSES / str(process) / "stat").read_text(encoding="utf-8")
    return text.rpartition(")")[2].split()
