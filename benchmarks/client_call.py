"""What `Client.call` costs over a bare psycopg execute: python benchmarks/client_call.py.

One function of three arguments and four columns, on an embedded server, in one session each. The
figures are microseconds a call: of the fastest, which other work disturbs least, and the median.
The first bare execute is what one would write instead: the same values as parameters, the columns
as psycopg gives them, no idempotency key. The others send the bytes that the client sends, made
beforehand, and look at nothing that comes back.
"""

import statistics
import time
from collections.abc import Callable
from decimal import Decimal
from uuid import uuid4

import psycopg

from pymilk import Client
from pymilk.database.embedded import scratch
from pymilk.rpc import reading
from pymilk.rpc.call import Call, Key, argument, given
from pymilk.rpc.outcome import Outcome
from pymilk.rpc.postgres import SET_KEY, literal, statement

FUNCTION = """
create function public.probe(
  p_id uuid, p_amount numeric, p_day date,
  out outcome text, out function_name text, out answer jsonb, out recorded_at timestamptz
) language plpgsql as $$
begin
  outcome := 'done';
  function_name := 'probe';
  answer := '{"amount": 300.10}';
  recorded_at := now();
end $$
"""
BARE = """
select r.outcome, r.function_name, r.answer, r.recorded_at
from public.probe(p_id => %s, p_amount => %s, p_day => %s) as r
"""
ROUNDS = 3000


def main() -> None:
    """Measure, and print."""
    with scratch() as server:
        bare = psycopg.connect(server.url(), autocommit=True, prepare_threshold=None)
        bare.execute(FUNCTION)
        client = Client.postgres(server.url())

        def call() -> Call[Outcome]:
            return Call(
                "probe",
                given(
                    argument("p_id", "uuid", uuid4()),
                    argument("p_amount", "numeric", Decimal("300.10")),
                    argument("p_day", "date", None),
                ),
                reading.row(Outcome),
                key=Key.OF_THIS_CALL,
            )

        same = statement(call()).encode()
        keyed = b";".join([SET_KEY.format(literal(str(uuid4()))).encode(), same])
        measure(
            {
                "bare execute, parameters": lambda: bare.execute(
                    BARE, (uuid4(), Decimal("300.10"), None)
                ).fetchone(),
                "bare execute of the client's bytes": lambda: bare.execute(same).fetchone(),
                "the same, with its key": lambda: bare.execute(keyed).fetchone(),
                "Client.call": lambda: client.call(call()),
            }
        )
        client.close()
        bare.close()


def measure(what: dict[str, Callable[[], object]]) -> None:
    """Run each in turns, so that what else the machine does meets all alike."""
    taken: dict[str, list[int]] = {name: [] for name in what}
    for round_number in range(ROUNDS):
        for name, act in what.items():
            began = time.perf_counter_ns()
            act()
            if round_number > ROUNDS // 10:
                taken[name].append(time.perf_counter_ns() - began)
    figures = [
        (statistics.quantiles(each, n=20)[0] / 1000, statistics.median(each) / 1000)
        for each in taken.values()
    ]
    for name, (fast, median) in zip(taken, figures, strict=True):
        more = (
            f"{figures[-1][0] - fast:7.1f} and {figures[-1][1] - median:7.1f} less than Client.call"
        )
        print(f"{fast:8.1f} µs, median {median:8.1f} µs  {name:36}{more}")


if __name__ == "__main__":
    main()
