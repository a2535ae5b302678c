"""The dairy with everything deployed."""

import pytest

from contract.app import Dairy
from support.databases import Database


@pytest.fixture
def dairy_app(dairy_hardened: Database) -> Dairy:
    """The demo dairy with all ten gaps fixed, as its users see it."""
    return Dairy(dairy_hardened)
