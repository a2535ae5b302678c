"""Money is exact in both directions, at every amount that numeric(12, 2) can hold."""

import json
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pymilk import Client
from pymilk.rpc import reading
from pymilk.rpc.call import Call, argument, plain
from pymilk.rpc.call import given as arguments
from rpc.ways import Caller
from support.till import Connection

# From one end of numeric(12, 2) to the other, the ends among the first that are tried.
PAISE = st.integers(-999_999_999_999, 999_999_999_999)
QUIET = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def rupees(paise: int) -> Decimal:
    return Decimal(paise).scaleb(-2)


def echo(paise: int) -> Call[Decimal]:
    return Call(
        "echo",
        arguments(argument("p_amount", "numeric", rupees(paise))),
        reading.value(reading.numeric),
    )


@given(PAISE)
def test_by_the_shortest_text_of_a_float_too(paise: int) -> None:
    amount = rupees(paise)
    # What other readers of JSON make of it: a float.
    assert reading.numeric(json.loads(str(amount))) == amount
    assert reading.numeric(reading.parse(str(amount))) == amount
    assert Decimal(str(plain(amount))) == amount


@QUIET
@given(PAISE)
def test_through_postgres(client: Client, connection: Connection, paise: int) -> None:
    connection.execute(
        "create or replace function public.echo(p_amount numeric) returns numeric"
        " language sql as 'select p_amount'"
    )
    assert str(client.call(echo(paise))) == str(rupees(paise))


@pytest.mark.parametrize("paise", [1, -1, 10, 999_999_999_999, -999_999_999_999, 123_456_789_010])
def test_every_way(caller: Caller, paise: int) -> None:
    assert str(caller.call(echo(paise))) == str(rupees(paise))
