"""A gate in the middle of a script: while it is closed, a test knows where the script is.

It is an advisory lock of the target that the script waits for, without queueing for it: a lock
timeout would end that. The rehearsal's copy has no such lock, and its scripts pass.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

_GATE = 471_100

WAIT = f"""
do $$
begin
  while exists (
    select from pg_locks as l
    where l.locktype = 'advisory' and l.objid = {_GATE}
      and l.database = (select d.oid from pg_database as d where d.datname = current_database())
  ) loop
    perform pg_sleep(0.01);
  end loop;
end;
$$;
"""


@contextmanager
def closed_gate(url: str) -> Iterator[None]:
    """Keep scripts waiting until the block ends."""
    with psycopg.connect(url, autocommit=True) as holder:
        holder.execute("select pg_advisory_lock(%s)", (_GATE,))
        yield


def wait_until_at_the_gate(url: str, timeout: float = 60) -> int:
    """Wait until a script of the target is seen waiting; gives its server process.

    Raises:
        AssertionError: None was seen.
    """
    query = (
        "select pid from pg_stat_activity where datname = current_database()"
        " and application_name ~ '^pymilk (deploy|rollback)' and state = 'active'"
        f" and query like '%%{_GATE}%%' and pid <> pg_backend_pid()"
    )
    deadline = time.monotonic() + timeout
    with psycopg.connect(url, autocommit=True) as watcher:
        while time.monotonic() < deadline:
            row = watcher.execute(query).fetchone()
            if row is not None:
                return int(row[0])
            time.sleep(0.01)
    raise AssertionError("the script never got to the gate")
