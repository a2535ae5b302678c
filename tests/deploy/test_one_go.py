"""What is sent in one go can be interrupted while it is being sent."""

import pytest

from pymilk.database.connection import connect
from pymilk.deploy.change.one_go import in_one_go
from support.databases import Database


def interrupted_while_sending(database: Database) -> None:
    """Ctrl-C arrives when the server is at a statement and we are still sending."""
    with connect(database.url, purpose="test one go") as connection:
        try:
            with connection.transaction(), in_one_go(connection, {}) as go:
                go.query("select pg_sleep(20)")
                go.query("create table public.made ()")
                raise KeyboardInterrupt
        finally:
            assert connection.closed, "it waited for the statement"


def test_an_interruption_does_not_wait_for_what_the_server_is_at(empty_database: Database) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted_while_sending(empty_database)
    made = empty_database.connect().execute("select to_regclass('public.made')").fetchone()
    assert made == (None,)
