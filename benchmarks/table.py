"""Rows as people read them, and as a file that is kept."""

import dataclasses
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from side_by_side import Row, Spread, Target

RESULTS = Path(__file__).with_name("results")

_HEAD = "| what | measured | against | ratio (lowest to highest) | target | holds |"
_RULE = "|---|---|---|---|---|---|"
_VERDICTS = {True: "yes", False: "**no**", None: ""}
_WHAT_IT_IS = """\
Written by the benches; each part says when and where.
[docs/performance.md](../../docs/performance.md) says what the figures mean."""
_WHEN_AND_WHERE = "{measured_at}, commit {commit}, Postgres {postgres}, {machine}"
_PLAIN = 100
_GIB = 1024**3


def markdown(rows: Iterable[Row]) -> str:
    """A table of these rows; figures are medians."""
    return "\n".join([_HEAD, _RULE, *map(line, rows)])


def line(row: Row) -> str:
    """One row of the table."""
    against = row.against
    if row.reference is not None:
        against = f"{row.against}: {_figure(row.reference.median, row.unit)}"
    cells = (
        f"{row.name} ({row.note})" if row.note else row.name,
        _figure(row.subject.median, row.unit),
        against,
        _ratio(row),
        "" if row.target is None else str(row.target),
        _VERDICTS[row.holds],
    )
    return f"| {' | '.join(cells)} |"


def head() -> str:
    """What stands above the first row."""
    return f"{_HEAD}\n{_RULE}"


def keep(bench: str, rows: Iterable[Row], postgres: str) -> None:
    """Write what a bench gave to results/<bench>.json, and all that is there to results/README.md.

    Args:
        bench: Its name.
        rows: All of it.
        postgres: The server's version.
    """
    RESULTS.mkdir(exist_ok=True)
    kept = {
        "bench": bench,
        "measured_at": datetime.now(UTC).isoformat(timespec="minutes"),
        "commit": _commit(),
        "machine": machine(),
        "postgres": postgres,
        "rows": [_kept(row) for row in rows],
    }
    text = json.dumps(kept, indent=1, ensure_ascii=False)
    (RESULTS / f"{bench}.json").write_text(f"{text}\n", encoding="utf-8")
    _write_readme()


def machine() -> str:
    """The machine in a few words: processor, cores, memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB
    return f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}"


def _write_readme() -> None:
    parts = [
        "# What `make bench` measured",
        _WHAT_IT_IS,
    ]
    for path in sorted(RESULTS.glob("*.json")):
        kept = json.loads(path.read_text(encoding="utf-8"))
        parts += [
            f"## {kept['bench'].replace('_', ' ')}",
            _WHEN_AND_WHERE.format(**kept),
            markdown(_read(row) for row in kept["rows"]),
        ]
    (RESULTS / "README.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _kept(row: Row) -> dict[str, Any]:
    holds, target = row.holds, row.target
    return {
        **dataclasses.asdict(row),
        "target": None if target is None else dataclasses.asdict(target),
        "holds": holds,
    }


def _read(kept: Mapping[str, Any]) -> Row:
    def spread(value: Mapping[str, float] | None) -> Spread | None:
        return None if value is None else Spread(**value)

    return Row(
        name=kept["name"],
        unit=kept["unit"],
        subject=Spread(**kept["subject"]),
        against=kept["against"],
        reference=spread(kept["reference"]),
        ratio=spread(kept["ratio"]),
        target=None if kept["target"] is None else Target(**kept["target"]),
        note=kept["note"],
    )


def _figure(value: float, unit: str) -> str:
    digits = f"{value:,.0f}" if value >= _PLAIN else f"{value:.3g}"
    return f"{digits}{unit}" if unit == "/s" else f"{digits} {unit}".strip()


def _ratio(row: Row) -> str:
    if row.ratio is None:
        low, high = row.subject.lowest, row.subject.highest
        return f"({_figure(low, row.unit)} to {_figure(high, row.unit)})"
    return f"{row.ratio.median:.2f} ({row.ratio.lowest:.2f} to {row.ratio.highest:.2f})"


def _processor() -> str:
    known = Path("/proc/cpuinfo")
    if known.is_file():
        for each in known.read_text(encoding="utf-8").splitlines():
            if each.startswith("model name"):
                return each.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str:
    """The commit that was measured, with a + where files differed from it."""
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty=+"],  # noqa: S607
        cwd=RESULTS.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return said.stdout.strip() or "unknown"
