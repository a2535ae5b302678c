"""Whatever comes back in place of what was declared is told as unexpected, by each reader."""

from collections.abc import Callable
from decimal import Decimal

import pytest

from pymilk import errors
from pymilk.rpc import reading
from pymilk.rpc.call import Json
from pymilk.rpc.outcome import Outcome

READERS: dict[str, Callable[[Json], object]] = {
    "boolean": reading.boolean,
    "integer": reading.integer,
    "numeric": reading.numeric,
    "inexact": reading.inexact,
    "uuid": reading.uuid,
    "day": reading.day,
    "clock": reading.clock,
    "moment": reading.moment,
    "choice": reading.choice("done", "undone"),
    "several": reading.several(reading.numeric),
    "mapping": reading.mapping(reading.numeric),
    "record": reading.record(Outcome),
}
STRANGE: list[Json] = [None, "soon", [[]], [{}], {"soon": []}, {"soon": {}}]


@pytest.mark.parametrize("strange", STRANGE, ids=str)
@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_another_shape_is_told(reader: Callable[[Json], object], strange: Json) -> None:
    with pytest.raises(errors.UnexpectedAnswer):
        reader(strange)


def test_a_number_that_is_none_comes_as_text() -> None:
    assert reading.numeric("NaN").is_nan()
    assert reading.numeric("-Infinity") == Decimal("-Infinity")


@pytest.mark.parametrize(
    "document", ["[" * 100_000, "1e9999999999999999999", "1" * 5_000, "soon"], ids=lambda it: it[:5]
)
def test_what_python_can_not_hold_is_a_value_error(document: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        reading.parse(document)
