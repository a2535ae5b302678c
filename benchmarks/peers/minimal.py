"""The least that a runner can be: python minimal.py URL FOLDER applies what is pending.

A lock, a history, a transaction for each file; nothing is looked at, compared or verified. It says
what a deploy costs where nobody has to be sure of anything.
"""

import sys
from pathlib import Path

import psycopg


def main(url: str, root: str) -> None:
    """Apply the files of `supabase/migrations` that the history doesn't have."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("select pg_advisory_lock(1)")
        connection.execute("create table if not exists public.applied (version text primary key)")
        applied = {row[0] for row in connection.execute("select version from public.applied")}
        for path in sorted((Path(root) / "supabase" / "migrations").glob("*.sql")):
            version = path.name.partition("_")[0]
            if version not in applied:
                with connection.transaction():
                    connection.execute(path.read_text(encoding="utf-8").encode())
                    connection.execute("insert into public.applied values (%s)", (version,))


if __name__ == "__main__":
    main(*sys.argv[1:3])
