"""Column stamps: what newer servers note on each column, and older programs take for the schema.

Postgres 17.12 (November 2026) keeps `pg_attver`, a number of its own, among the options of every
column. Its own pg_dump leaves it out; one that is older, or of another major, writes it down as
if somebody had set it, and a server that does not know it refuses to restore it.
"""

import re

_STAMPED = re.compile(
    r"^(ALTER (?:FOREIGN )?TABLE (?:ONLY )?\S.* ALTER COLUMN .+ SET \()"
    r"([^()]*pg_attver=[^()]*)\);\n",
    re.MULTILINE,
)
_STAMP = re.compile(r"pg_attver='?\d+'?")


def without_stamps(text: str) -> str:
    """pg_dump's or pg_restore's text without the stamps that a server put on columns."""
    return _STAMPED.sub(_others, text)


def _others(found: re.Match[str]) -> str:
    options = [each for each in found[2].split(", ") if not _STAMP.fullmatch(each)]
    return f"{found[1]}{', '.join(options)});\n" if options else ""
