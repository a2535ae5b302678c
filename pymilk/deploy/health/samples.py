"""The samples of a watch in the ledger: written as they are taken, read back as they were."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from pymilk.database.connection import Connection
from pymilk.database.ledger_version import readable_version, tool
from pymilk.database.person import person
from pymilk.deploy.basis.sample import Activity, Row, Sample

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")

# The first version of the ledger that has them.
_SINCE_VERSION = 3


@dataclass(frozen=True)
class Taken:
    """A sample as it stands in the ledger.

    Attributes:
        id: Its number among the samples.
        deploy: The id of the deploy that was the newest live one; none where pymilk has deployed
            nothing.
        watch: What the samples of one run of the tool have in common.
        person: Who watched.
        sample: What was seen.
    """

    id: int
    deploy: int | None
    watch: uuid.UUID
    person: str
    sample: Sample

    @property
    def taken_at(self) -> datetime:
        """When, by the server's clock."""
        return self.sample.taken_at


@dataclass(frozen=True)
class Moment:
    """A sample without what it saw.

    Attributes:
        taken_at: When it was.
        breach: Whether something was broken that held before.
        watch: Of which run of the tool it is.
        whole: Whether every invariant could be read: only then it says that nothing was broken.
    """

    taken_at: datetime
    breach: bool
    watch: uuid.UUID
    whole: bool = True

    @property
    def vouches(self) -> bool:
        """Whether it says how things stood: that something was broken, or that nothing was."""
        return self.breach or self.whole


def record_sample(
    connection: Connection, sample: Sample, deploy: int | None, watch: uuid.UUID
) -> int:
    """Write a sample into the ledger, in the caller's transaction; gives its number.

    Args:
        connection: To the target, whose ledger is up to date.
        sample: What was seen.
        deploy: The id of the newest live deploy's event.
        watch: What the samples of this run have in common.
    """
    facts = {name: value for name, value in asdict(sample).items() if name != "taken_at"}
    row = connection.execute(
        "insert into pymilk.samples (deploy, taken_at, breach, watch, person, tool, facts)"
        " values (%s, %s, %s, %s, %s, %s, %s) returning id",
        (
            deploy,
            sample.taken_at,
            bool(sample.breach),
            watch,
            person(),
            tool(),
            Jsonb(facts, dumps=lambda value: json.dumps(value, default=str)),
        ),
    ).fetchone()
    return int(row[0]) if row else 0


def read_samples(
    connection: Connection, deploy: int | None, *, last: int | None = None
) -> tuple[Taken, ...]:
    """The samples of one deploy, oldest first; none where the ledger is older than samples.

    Args:
        connection: To the target.
        deploy: The id of the deploy's event; none for samples from before any deploy.
        last: Only so many of the newest.

    Raises:
        Problem: The ledger was made by a newer pymilk.
    """
    if not _are_there(connection):
        return ()
    rows = connection.cursor(row_factory=dict_row).execute(
        "select id, deploy, watch, person, taken_at, facts from pymilk.samples"
        " where deploy is not distinct from %s order by id desc limit %s",
        (deploy, last),
    )
    found = tuple(_taken(row) for row in rows)
    return found[::-1]


def read_moments(connection: Connection, deploy: int | None) -> tuple[Moment, ...]:
    """When one deploy was watched, oldest first: what the soak clock goes by.

    Raises:
        Problem: The ledger was made by a newer pymilk.
    """
    if not _are_there(connection):
        return ()
    rows = connection.execute(
        "select taken_at, breach, watch, coalesce(facts -> 'failed', '{}') = '{}'"
        " from pymilk.samples"
        " where deploy is not distinct from %s order by taken_at",
        (deploy,),
    )
    return tuple(Moment(*row) for row in rows)


def read_baselines(
    connection: Connection, deploy: int | None
) -> tuple[Mapping[str, tuple[Row, ...]], ...]:
    """What the first samples of one deploy found standing, where nobody had looked before.

    Raises:
        Problem: The ledger was made by a newer pymilk.
    """
    if not _are_there(connection):
        return ()
    rows = connection.execute(
        "select facts -> 'baseline' from pymilk.samples where deploy is not distinct from %s"
        " and jsonb_typeof(facts -> 'baseline') = 'object' order by id",
        (deploy,),
    )
    return tuple(_reading(dict[str, tuple[Row, ...]]).validate_python(row[0]) for row in rows)


def between(earlier: Activity | None, later: Activity | None) -> Activity | None:
    """What the server counted between two samples; none where that can't be known.

    A reset of the counters, or a crash of the server, which resets them too, begins anew.
    """
    if earlier is None or later is None or earlier.counted_since != later.counted_since:
        return None
    counted = {
        each.name: _difference(getattr(earlier, each.name), getattr(later, each.name))
        for each in fields(Activity)
        if each.name != "counted_since"
    }
    if any(value is not None and value < 0 for value in counted.values()):
        return None
    found: Activity = _reading(Activity).validate_python(
        {**counted, "counted_since": later.counted_since}
    )
    return found


def _difference(earlier: float | None, later: float | None) -> float | None:
    return None if earlier is None or later is None else later - earlier


def _are_there(connection: Connection) -> bool:
    return readable_version(connection) >= _SINCE_VERSION


def _taken(row: Mapping[str, object]) -> Taken:
    facts = row["facts"]
    if not isinstance(facts, Mapping):
        raise TypeError("the facts of a sample are a JSON object")
    sample = _reading(Sample).validate_python({**facts, "taken_at": row["taken_at"]})
    of_row = {name: row[name] for name in ("id", "deploy", "watch", "person")}
    found: Taken = _reading(Taken).validate_python({**of_row, "sample": sample})
    return found


@cache
def _reading(kind: type[T]) -> "TypeAdapter[T]":
    """What checks that values are of a type, made where one is read first.

    It takes a while to load and to make, and a deploy reads none.
    """
    from pydantic import TypeAdapter  # noqa: PLC0415

    return TypeAdapter(kind)
