"""Send many statements in one go, without waiting for an answer to each.

A script of a hundred statements costs a hundred round trips when each is waited for. From a desk to
a hosted database that is seconds, all of them with the script's locks held; in one go it is one.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg
from psycopg.abc import Params, QueryNoTemplate
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from pymilk.database.connection import Connection
from pymilk.deploy.change.script import (
    CHECK_DEFERRED,
    HOLD_LOCK_TIMEOUT,
    MAY_SET,
    NOT_NOW,
    failure,
)
from pymilk.deploy.change.strong_locks import LocksNotHad, Taking
from pymilk.project.migrations import Script, refuse_what_cannot_be_one_transaction
from pymilk.project.statements import Statement

_RESTORE = """
with now as materialized (
    select s.name, s.reset_val, current_setting(s.name) as value
    from pg_catalog.pg_settings as s
    where s.source = 'session' and s.name not in ('role', 'transaction_isolation')
)

select set_config(n.name, coalesce(k.value, n.reset_val), false)
from now as n left join jsonb_each_text(%s) as k on k.key = n.name
where n.value is distinct from coalesce(k.value, n.reset_val)
"""

# The moment from which on others wait, by the server's clock; and how long ago that is.
_LOCKED = "select set_config('pymilk.locked_at', clock_timestamp()::text, true)"
LOCKED_SECONDS = (
    "select coalesce(extract(epoch from clock_timestamp()"
    " - nullif(current_setting('pymilk.locked_at', true), '')::timestamptz), 0)::float8"
)

# A limit for one statement, and back to whatever the script has set for itself.
_LIMIT = (
    "select set_config('pymilk.allowed', current_setting('statement_timeout'), true),"
    " set_config('statement_timeout', %s, true)"
)
_UNLIMIT = "select set_config('statement_timeout', current_setting('pymilk.allowed'), true)"

# How long an interruption waits for the server to hear of it.
_CANCEL_SECONDS = 5.0

Cursor = psycopg.Cursor[TupleRow]


@dataclass(frozen=True)
class _Sent:
    script: Script | None
    statement: Statement
    cursor: Cursor


@dataclass(frozen=True)
class OneGo:
    """What goes to the server together; its answers are there when the block has ended.

    Attributes:
        connection: In the transaction that all of it belongs to.
        settings: What the session had set before, for scripts to leave as they found it.
    """

    connection: Connection
    settings: Mapping[str, str]
    _sent: list[_Sent] = field(default_factory=list)
    _taking: list[Cursor] = field(default_factory=list)

    def read(self, script: Script) -> Cursor | None:
        """Send a query; gives the cursor of its last statement, none where it is empty."""
        cursors = [
            self._send(script, statement)
            for statement in script.statements
            if not statement.only_comment
        ]
        return cursors[-1] if cursors else None

    def script(self, script: Script, locks: Taking | None = None) -> None:
        """Send every statement of a script; settings that it makes for itself don't outlive it.

        Nor does it get to queue for locks longer than the transaction chose.

        Args:
            script: What to run.
            locks: The strong locks that it needs, to be taken right before it needs the first.

        Raises:
            UsageProblem: It would end the transaction that it runs in.
        """
        refuse_what_cannot_be_one_transaction(script)
        for statement in script.inside:
            if locks is not None and statement.line >= locks.line:
                self.take(locks)
                locks = None
            self._send(script, statement)
            if statement.words[:1] and statement.words[0] in MAY_SET:
                allowed = self.settings.get("lock_timeout", "0")
                self.query(HOLD_LOCK_TIMEOUT, (allowed, allowed, allowed))
        # Deferred constraints speak now, while everything can still be refused.
        self._send(script, CHECK_DEFERRED)
        self.query("reset role")
        self.query(_RESTORE, (Jsonb(dict(self.settings)),))

    def take(self, locks: Taking) -> None:
        """Send what takes the strong locks, all of them within their time."""
        # Whatever role and search path the script has set by now, the tables are ours and named
        # in full. The limit ends with the statement that it is for.
        self.query(_LIMIT, (str(locks.milliseconds),))
        self._taking.append(self.query(locks.statement))
        self.query(_UNLIMIT)
        self.query(_LOCKED)

    def canary(self, script: Script) -> None:
        """Send a verification, and take back everything that it does."""
        self.query("savepoint canary")
        self.script(script)
        self.query("rollback to savepoint canary")

    def query(self, query: QueryNoTemplate, values: Params | None = None) -> Cursor:
        """Send one statement of ours."""
        cursor = self.connection.execute(query, values, prepare=False)
        self._sent.append(_Sent(None, CHECK_DEFERRED, cursor))
        return cursor

    def _send(self, script: Script, statement: Statement) -> Cursor:
        cursor = self.connection.cursor()
        # Noted first: sending may already bring the answer to an earlier one, and raise it.
        self._sent.append(_Sent(script, statement, cursor))
        return cursor.execute(statement.text.encode(), prepare=False)

    def failure(self, error: psycopg.Error) -> Exception:
        """What an error means, by the first statement that has no good answer."""
        failed = next((sent for sent in self._sent if sent.cursor.statusmessage is None), None)
        if failed is None:
            return error
        if failed.cursor in self._taking and isinstance(error, psycopg.errors.QueryCanceled):
            return LocksNotHad(str(error))
        if failed.script is None:
            return error
        return failure(failed.script, failed.statement, error)


@contextmanager
def in_one_go(connection: Connection, settings: Mapping[str, str]) -> Iterator[OneGo]:
    """Collect what is to be sent; it is sent, and answered, when the block ends.

    Args:
        connection: In the transaction that all of it belongs to.
        settings: What `read_settings` says, read while it costs nobody anything.

    Raises:
        ScriptFailed: A statement of a script failed, with its line and what Postgres said.
        LocksNotHad: The strong locks were not to be had within their time.
        psycopg.Error: One of `NOT_NOW`, a lost connection, or a statement of ours.
    """
    go = OneGo(connection, settings)
    try:
        with connection.pipeline():
            try:
                yield go
            except KeyboardInterrupt:
                # The pipeline's end would wait for whatever the server is at, perhaps for long.
                connection.cancel_safe(timeout=_CANCEL_SECONDS)
                connection.close()
                raise
    except NOT_NOW:
        raise
    except psycopg.Error as error:
        if connection.closed:
            raise  # who holds the connection can say what it means
        raise go.failure(error) from error
