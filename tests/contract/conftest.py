"""The dairy with everything deployed."""

import pytest

from contract.app import Dairy, Session
from support.databases import Database


@pytest.fixture
def dairy_app(dairy_hardened: Database) -> Dairy:
    """The demo dairy with all ten gaps fixed, as its users see it."""
    return Dairy(
        dairy_hardened,
        app=Session(dairy_hardened.connect(role="authenticated", autocommit=True)),
        office=Session(dairy_hardened.connect(role="service_role", autocommit=True)),
        owner=Session(dairy_hardened.connect(autocommit=True)),
    )
