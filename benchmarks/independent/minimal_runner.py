"""A minimal runner: psycopg, a lock, a history; nothing else. minimal_runner.py URL FOLDER.

Prints the seconds from connecting to the end.
"""

import sys
import time
from pathlib import Path

import psycopg


def main(url: str, folder: Path) -> None:
    """Apply what is not in the history yet, a transaction each."""
    started = time.perf_counter()
    with psycopg.connect(url, autocommit=True) as session:
        session.execute("select pg_advisory_lock(20250101)")
        session.execute(
            "create table if not exists public.migrations_done"
            " (name text primary key, at timestamptz not null default now())"
        )
        done = {name for (name,) in session.execute("select name from public.migrations_done")}
        for path in sorted(folder.glob("*.sql")):
            if path.stem in done:
                continue
            with session.transaction():
                session.execute(path.read_bytes())
                session.execute(
                    "insert into public.migrations_done (name) values (%s)", [path.stem]
                )
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
