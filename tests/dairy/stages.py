"""Tests of a gap's contract that hold with everything deployed, and with that gap alone.

The gap alone is the long way: `make test-long` asks it too.
"""

from collections.abc import Callable

import pytest

from support.databases import Database


def alone_and_with_all(stage: str) -> list[object]:
    """The stages to ask: the one where this gap is the last, and everything that we have."""
    alone = (pytest.mark.long, pytest.mark.alone)
    return [pytest.param(stage, marks=alone), "dairy_hardened"]


def first_and_last(stage: str) -> Callable[..., Database]:
    """A fixture: the dairy at this stage, and with everything that we have."""

    def database(request: pytest.FixtureRequest) -> Database:
        found = request.getfixturevalue(request.param)
        assert isinstance(found, Database)
        return found

    return pytest.fixture(name="database", params=alone_and_with_all(stage))(database)
