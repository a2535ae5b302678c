"""Eight clients in Python, a process each: what a back office on psycopg sees."""

import multiprocessing
import time
from multiprocessing.synchronize import Barrier

import psycopg

from pgbench import CLIENTS

_PATIENCE_SECONDS = 60


def turns_per_second(url: str, script: str, *, turns: int, settings: str) -> float:
    """Run a script of one statement, prepared once a client; each of its turns is a transaction.

    Args:
        url: Where, and as whom.
        script: As pgbench's: `:n` is another number each time.
        turns: How many, of all clients together.
        settings: Statements that each session begins with.

    Returns:
        Turns a second, from the moment when all are ready to the end of the last.

    Raises:
        BrokenBarrierError: a client failed, and said why.
    """
    # Forked: new interpreters would first load all of the benches. No thread is about, and a child
    # ends without closing what it has inherited.
    context = multiprocessing.get_context("fork")
    ready = context.Barrier(CLIENTS + 1)
    each = turns // CLIENTS
    clients = [
        context.Process(
            target=_client, args=(url, script, range(n * each, (n + 1) * each), settings, ready)
        )
        for n in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    ready.wait(_PATIENCE_SECONDS)
    began = time.perf_counter()
    ready.wait()
    took = time.perf_counter() - began
    for client in clients:
        client.join()
    return each * CLIENTS / took


def _client(url: str, script: str, numbers: range, settings: str, ready: Barrier) -> None:
    statement = script.replace(":n", "%(n)s").encode()
    with psycopg.connect(url, autocommit=True, prepare_threshold=0) as connection:
        connection.execute(settings.encode())
        ready.wait(_PATIENCE_SECONDS)
        try:
            for number in numbers:
                connection.execute(statement, {"n": number})
        except psycopg.Error:
            ready.abort()
            raise
        ready.wait()
