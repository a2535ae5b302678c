"""A plugin for pytest: the tests that have everything deployed, on partitioned tables.

    PYTHONPATH=tests:benchmarks/scale .venv/bin/pytest -p partitioned tests/dairy tests/contract

Only tests that use `dairy_hardened` are run: the others look at a dairy in which not all is fixed.
"""

from pathlib import Path

import pytest

from support import databases

_CHANGE = Path(__file__).with_name("partition_by_customer.sql")
_STAGE = "dairy_hardened"
_without = databases.after_the_gaps


def _with_partitions() -> list[Path]:
    return [*_without(), _CHANGE]


databases.after_the_gaps = _with_partitions


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what doesn't have everything deployed."""
    left_out = [item for item in items if not _has_everything(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if _has_everything(item)]


def _has_everything(item: pytest.Item) -> bool:
    params = getattr(getattr(item, "callspec", None), "params", {})
    stages = {value for value in params.values() if str(value).startswith("dairy")}
    if stages:
        return _STAGE in stages
    return _STAGE in getattr(item, "fixturenames", ())
