"""Tests of a gap's contract that hold when it is fixed, and with everything after it as well."""

from collections.abc import Callable

import pytest

from support.databases import Database


def first_and_last(stage: str) -> Callable[..., Database]:
    """A fixture: the dairy at this stage, and then with everything that we have."""

    def database(request: pytest.FixtureRequest) -> Database:
        found = request.getfixturevalue(request.param)
        assert isinstance(found, Database)
        return found

    return pytest.fixture(name="database", params=[stage, "dairy_hardened"])(database)
