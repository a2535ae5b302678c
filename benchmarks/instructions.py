"""How many instructions a call takes, beside the bare writes; `make instructions` runs it.

A count doesn't know what else the machine does: a hundredth that is won or lost shows in one run.
valgrind's callgrind counts what a single-user server executes between two marks, after as many
turns as it takes until functions are compiled and plans are kept. It sees neither the kernel's work
nor waiting, and an instruction counts as one, whether or not its memory was near.

Not one of `make bench`: it has no clock, and needs valgrind. Exit code 2: there is none.
"""

import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import allocating
import hot_customer
import ledgers
import recording
import table
from pymilk.database.cluster import Cluster
from pymilk.database.embedded import EmbeddedServer, scratch
from pymilk.database.place import find_place
from pymilk.database.programs import find_programs
from pymilk.database.running_as import programs_reached_by, server_account
from support.databases import Database, Templates
from support.servers import Server

_CUSTOMERS = 6_400
"""As many as in the allocation bench; of few rows Postgres reads all instead of looking them up."""

_COUNTED = range(50)
_WARMING_ONE, _WARMING_MANY = range(50, 60), range(60, 70)
"""Turns before those that count: after five, Postgres keeps to its generic plans."""

_RECORDED, _WARMING_RECORDED = range(70, 120), range(120, 130)
"""Turns that record a payment with all invoices of a customer."""

_INVOICES = (
    sum(map(len, (_COUNTED, _WARMING_ONE, _WARMING_MANY)))
    + hot_customer.MANY
    + ledgers.INVOICES * sum(map(len, (_RECORDED, _WARMING_RECORDED)))
)
"""How many are paid in all, by either side."""

_READ = "select count(*) from public.{}"
_READ_FIRST = ("customers", "invoice_metadata", "payments", "unapplied_payments")

_MARK = "select pg_sleep(0)"
_MARKED_BY = "pg_sleep"
"""Postgres's function that only marks come by; the last of them is a thousandth of the count."""

_PARTS: Mapping[str, str] = {
    "whether triggers fire: columns, WHEN": "TriggerEnabled",
    "functions of triggers, with their statements": "ExecCallTriggerFunc",
    "checks of the tables": "ExecConstraints",
    "foreign keys": "RI_FKey_check_ins",
    "expressions made, of statements and of plpgsql": "ExecInitExprRec",
    "statements begun": "standard_ExecutorStart",
}
"""What is told of a call by itself → the function of Postgres that does it. They overlap."""

_TOTAL = re.compile(r"^totals: (\d+)", re.MULTILINE)
_WITHIN = re.compile(r"^ *([\d,]+) +\([^)]*\) +\S+?:(\w+) ", re.MULTILINE)
_ALLOWED_SECONDS = 600


@dataclass(frozen=True)
class _Side:
    """The call, or the bare writes.

    Attributes:
        setting: What its session begins with.
        turn: pgbench's script of a turn that pays one invoice.
        many: The statement that pays many.
        recording: pgbench's script of a turn that records a payment of three invoices.
    """

    setting: str
    turn: str
    many: str
    recording: str


_CALL = _Side(
    "set role authenticated", allocating.call(1), hot_customer.call_many(0), recording.CALL
)
_BARE_WRITES = _Side(
    "set session_replication_role = replica",
    allocating.bare_writes(1),
    hot_customer.bare_many(0),
    recording.BARE_WRITES,
)


@dataclass(frozen=True)
class _Session:
    """What a session does before it counts.

    Attributes:
        setting: What it begins with.
        turn: pgbench's script of a turn.
        warming: Turns that don't count yet.
    """

    setting: str
    turn: str
    warming: Sequence[int]


@dataclass(frozen=True)
class _Counted:
    """Instructions between two marks.

    Attributes:
        total: All of them.
        within: Function of Postgres → its own, and those of what it calls.
    """

    total: int
    within: Mapping[str, int]


def main() -> int:
    """Count and print: calls of one invoice, a call of many, payments recorded with three.

    Returns:
        0, whatever the counts are; 2 where there is no valgrind.
    """
    if shutil.which("valgrind", path=os.defpath) is None:  # where the server's account looks
        sys.stderr.write("valgrind, which counts, is not installed: apt install valgrind\n")
        return 2
    print(table.machine(), flush=True)
    with (
        scratch() as embedded,
        closing(Server("embedded", embedded.url, find_programs().major)) as server,
        ledgers.ledgers(Templates(server, "bench"), ledgers.DEPLOYED, _CUSTOMERS) as deployed,
        deployed.fresh(hot_customer.MANY_INVOICES) as called,
        deployed.fresh(hot_customer.MANY_INVOICES) as written,
    ):
        with _at_rest(embedded, server) as cluster:
            call, bare = _one(cluster, called, _CALL), _one(cluster, written, _BARE_WRITES)
            print(_line("a call of 1 invoice", call, bare, len(_COUNTED)))
            for what, function in _PARTS.items():
                print(f"  {call.within[function] / call.total:4.0%}  {what}", flush=True)
            call, bare = _many(cluster, called, _CALL), _many(cluster, written, _BARE_WRITES)
            many = f"an invoice, of {hot_customer.MANY:,} in a call"
            print(_line(many, call, bare, hot_customer.MANY), flush=True)
            call = _recorded(cluster, called, _CALL)
            bare = _recorded(cluster, written, _BARE_WRITES)
            recorded = f"a payment recorded with {ledgers.INVOICES} invoices"
            print(_line(recorded, call, bare, len(_RECORDED)))
        for database in (called, written):
            hot_customer.see_paid(database, _INVOICES * ledgers.TOTAL)
    return 0


def _line(what: str, call: _Counted, bare: _Counted, each: int) -> str:
    ours, theirs = round(call.total / each), round(bare.total / each)
    return f"{what}: {ours:,}; the bare writes: {theirs:,}; {ours / theirs:.2f} times"


def _one(cluster: Cluster, database: Database, side: _Side) -> _Counted:
    session = _Session(side.setting, side.turn, _WARMING_ONE)
    return _count(cluster, database, session, [_turn(n) for n in _COUNTED])


def _many(cluster: Cluster, database: Database, side: _Side) -> _Counted:
    session = _Session(side.setting, side.turn, _WARMING_MANY)
    return _count(cluster, database, session, [side.many])


def _recorded(cluster: Cluster, database: Database, side: _Side) -> _Counted:
    session = _Session(side.setting, side.recording, _WARMING_RECORDED)
    return _count(cluster, database, session, [_turn(n) for n in _RECORDED])


def _turn(number: int) -> str:
    return f"execute turn({number})"


@contextmanager
def _at_rest(embedded: EmbeddedServer, server: Server) -> Iterator[Cluster]:
    """The server's data while it is stopped: a single-user server wants them for itself."""
    place, account = find_place(embedded.directory), server_account()
    if place is None:
        raise RuntimeError(f"{embedded.directory} has no data")
    server.close()
    embedded.stop()
    try:
        yield Cluster(place, programs_reached_by(account, find_programs()), account)
    finally:
        embedded.start()


def _count(
    cluster: Cluster, database: Database, session: _Session, counted: Sequence[str]
) -> _Counted:
    """Run a session of one user, and count what it executes of these statements.

    Raises:
        RuntimeError: a statement failed.
    """
    script = re.sub(r"(?<!:):n\b", "$1", session.turn).strip().rstrip(";")
    lines = [
        *(_READ.format(name) for name in _READ_FIRST),
        session.setting,
        f"prepare turn(bigint) as {script}",
        *map(_turn, session.warming),
        _MARK,
        *counted,
        _MARK,
    ]
    statements, counts = cluster.place / "session.sql", cluster.place / "counts"
    statements.write_text("".join(f"{statement};\n\n" for statement in lines), encoding="utf-8")
    cluster.account.take(statements)
    said = cluster.account.run(
        [
            "/bin/sh",
            "-c",
            f'exec "$@" < {statements.name}',
            "sh",
            "valgrind",
            "--tool=callgrind",
            f"--callgrind-out-file={counts.name}",
            f"--dump-before={_MARKED_BY}",
            cluster.programs.path("postgres"),
            "--single",
            "-j",  # a statement ends with a semicolon and an empty line
            "-D",
            cluster.data.name,
            database.name,
        ],
        cwd=cluster.place,
        timeout=_ALLOWED_SECONDS,
    )
    if said.returncode != 0 or "ERROR:" in said.stderr:
        raise RuntimeError(f"the session failed: {said.stderr}")
    # The first part ends with the first mark, the second with the second.
    return _read(cluster, counts.with_suffix(".2"))


def _read(cluster: Cluster, counts: Path) -> _Counted:
    """What callgrind wrote, added up by its own program."""
    said = cluster.account.run(
        ["callgrind_annotate", "--inclusive=yes", "--threshold=100", counts.name],
        cwd=cluster.place,
        timeout=_ALLOWED_SECONDS,
    )
    total = _TOTAL.search(counts.read_text(encoding="utf-8", errors="replace"))
    if said.returncode != 0 or total is None:
        raise RuntimeError(f"callgrind_annotate failed: {said.stderr}")
    return _Counted(
        int(total[1]),
        {name: int(count.replace(",", "")) for count, name in _WITHIN.findall(said.stdout)},
    )


if __name__ == "__main__":
    sys.exit(main())
