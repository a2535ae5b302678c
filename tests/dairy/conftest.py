"""The books of the demo dairy, before gap 001 and after."""

import pytest

from dairy.books import Books
from support.databases import Database


@pytest.fixture
def books(dairy_001: Database) -> Books:
    """The books with gap 001 fixed, kept by the owner; every statement commits."""
    return Books(dairy_001.connect(autocommit=True))


@pytest.fixture
def old_books(dairy: Database) -> Books:
    """The books before any gap is fixed, kept by the owner; every statement commits."""
    return Books(dairy.connect(autocommit=True))
