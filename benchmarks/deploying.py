"""What a deploy costs beside the tools that prove nothing: the same steps, each tool in turn.

Measured are whole processes, as people start them. Of pymilk's, two figures are told: all of it,
and without what no peer does (the copy's server, the backup, the restore test, the rehearsal, and
the loading of what only they need). What is left still looks at the database, locks, compares the
schema with the rehearsed one before and after, applies, verifies, reads figures and invariants,
writes history and ledger, and looks again when it has committed.

Peers that aren't installed are left out: benchmarks/peers/install.
"""

import json
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from compileall import compile_dir
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import psycopg
from psycopg import sql

import pymilk
from peers import steps
from peers.steps import MINIMAL, PEERS, SQITCH, Tool
from pymilk.database.catalog import read_catalog
from pymilk.database.cluster import SUPERUSER
from pymilk.database.connection import Target, connect
from pymilk.database.embedded import EmbeddedServer, scratch
from pymilk.database.history import record_applied
from pymilk.database.ledger import Event, Kind, record
from pymilk.deploy.survey.adopt import adopt
from pymilk.project.policy import Preset
from pymilk.project.project import load_project
from side_by_side import Effort, Rounds, Row, alternate, at_most
from support.proxy import Cut, proxy

_PACKAGE = Path(pymilk.__file__).parent
_TIMED = Path(__file__).parent / "peers" / "pymilk_timed.py"
_AHEAD_OF = ("Alembic", "the Supabase CLI", "Sqitch with verify", "Liquibase")
# What the ledger keeps of the deploy of a gap of the dairy, and of its rehearsal.
_DEPLOY_KB, _REHEARSAL_KB = 45, 30
_PYMILK, _WHOLE = "pymilk without its proof", "pymilk, all of it"
# What is left without the proof: these; and before them, to load and to see what is pending.
_STEPS = ("preflight", "apply", "after")


def rows(effort: Effort) -> Iterable[Row]:
    """Starting up; one more and nothing to do where many are applied; many, one by one."""
    # As pip leaves what it installs, and has left the peers.
    compile_dir(_PACKAGE, quiet=1)
    yield alternate(
        {"pymilk --help": _seconds_of([sys.executable, "-m", "pymilk", "--help"])},
        rounds=effort.choose(9, 2),
        unit="s",
    ).alone("pymilk --help", at_most(0.15))
    applied, rounds = effort.choose(200, 4), effort.choose(5, 2)
    tools = [tool for tool in (MINIMAL, *PEERS) if tool.is_there]
    with scratch() as server, tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        places = [stack.enter_context(_place(server, Path(folder), tool)) for tool in tools]
        pymilk = _Pymilk(server, Path(folder))
        for place in places:
            place.deploy_up_to(applied)
        pymilk.pretend(applied)
        yield from _one_more(places, pymilk, rounds)
        yield from _nothing(places, pymilk, rounds)
    yield from _one_by_one(effort.choose(200, 4))


def _one_more(places: "list[_Place]", pymilk: "_Pymilk", rounds: int) -> Iterator[Row]:
    sides = {place.tool.name: place.deploy_one_more for place in places}
    measured = alternate({_PYMILK: pymilk.deploy_one_more, **sides}, rounds=rounds, unit="s")
    told = Rounds({**measured.figures, _WHOLE: pymilk.whole}, "s")
    applied = f"one more on {pymilk.first}"
    yield told.ratio(_PYMILK, MINIMAL.name, at_most(2), name=f"{applied}: {_PYMILK}")
    for name in sides:
        if name != MINIMAL.name:
            limit = at_most(1) if name in _AHEAD_OF else None
            yield told.ratio(_PYMILK, name, limit, name=f"{applied}: {_PYMILK}")
    yield replace(told.alone(_WHOLE), name=f"{applied}: {_WHOLE}")
    parts = Rounds({_PYMILK: measured.figures[_PYMILK], **pymilk.steps_of_each()}, "s")
    for step in _STEPS:
        yield parts.ratio(step, _PYMILK, name=f"{applied}: of it, {step}")


def _nothing(places: "list[_Place]", pymilk: "_Pymilk", rounds: int) -> Iterator[Row]:
    sides = {place.tool.name: place.deploy for place in places}
    measured = alternate({"pymilk": pymilk.look, **sides}, rounds=rounds, unit="s")
    yield replace(measured.alone("pymilk", at_most(0.3)), name="nothing to do: pymilk")
    for name in sides:
        yield measured.ratio("pymilk", name, name="nothing to do: pymilk")


def _one_by_one(many: int) -> Iterator[Row]:
    """Once: it takes minutes, and the machine's moods even out."""
    with scratch() as server, tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        tools = [tool for tool in (MINIMAL, *PEERS) if tool.is_there]
        places = {tool.name: _place(server, Path(folder), tool) for tool in tools}
        figures = {
            name: [stack.enter_context(place).deploy_up_to(many)] for name, place in places.items()
        }
        pymilk = _Pymilk(server, Path(folder))
        pymilk.lay(many)
        figures[_PYMILK] = [pymilk.deploy()]
        figures[_WHOLE] = pymilk.whole
    told = Rounds(figures, "s")
    for name in figures:
        if name in {_PYMILK, _WHOLE}:
            continue
        limit = at_most(0.5) if name == SQITCH.name else None
        yield told.ratio(_PYMILK, name, limit, name=f"{many} one by one: {_PYMILK}")
    whole = f"{many} one by one: {_WHOLE}"
    if SQITCH.name in figures:
        yield told.ratio(_WHOLE, SQITCH.name, at_most(0.5), name=whole)
    yield told.ratio(_WHOLE, MINIMAL.name, name=whole)


@dataclass
class _Place:
    """A tool, its project, its database.

    Attributes:
        tool: Which.
        root: Where its files are.
        url: The database.
        steps: How many are written.
    """

    tool: Tool
    root: Path
    url: str
    steps: int = 0

    def deploy_up_to(self, number: int) -> float:
        """Write so many steps, and deploy what is pending; gives the seconds of the latter."""
        self.steps = number
        self.tool.lay(self.root, number)
        return self.deploy()

    def deploy_one_more(self) -> float:
        """The same with one more step."""
        return self.deploy_up_to(self.steps + 1)

    def deploy(self) -> float:
        """Deploy what is pending, if anything is; gives the seconds of the whole process."""
        command = self.tool.command(self.root, self.url)
        return _seconds_of(command, steps.environment_of(self.tool, self.root))()


@contextmanager
def _place(server: EmbeddedServer, folder: Path, tool: Tool) -> Iterator[_Place]:
    root, url = _root(folder), _new_database(server)
    if not tool.by_tcp:
        yield _Place(tool, root, url)
        return
    # The server has a socket alone; a forwarder costs a tenth of a millisecond a message.
    with proxy(url, Cut.BEFORE_COMMIT) as forwarder:
        yield _Place(tool, root, forwarder.url)


@dataclass
class _Pymilk:
    """pymilk, its project, its database.

    Attributes:
        server: Where it deploys to.
        folder: Where its files go.
        whole: Seconds of each deploy that did something, the proof included.
        took: Seconds of each of its steps.
        first: How many steps were there to begin with.
    """

    server: EmbeddedServer
    folder: Path
    whole: list[float] = field(default_factory=list)
    took: list[dict[str, float]] = field(default_factory=list)
    first: int = 0

    def __post_init__(self) -> None:
        self.root, self.url = _root(self.folder), _new_database(self.server)
        self.steps = 0
        self.lay(0)
        project = load_project(self.root)
        with psycopg.connect(self.url) as connection:
            connection.execute(steps.BASELINE.encode())
        adopt(project, Target(self.url, Preset.LOCAL), project.policy(Preset.LOCAL), None)

    def lay(self, number: int) -> None:
        """Write so many steps."""
        self.steps = number
        steps.lay_supabase(self.root, number)

    def pretend(self, applied: int) -> None:
        """History and ledger as so many deploys have left them, each with a gap's evidence."""
        self.lay(applied)
        self.first = applied
        with connect(self.url, purpose="benchmark") as connection, connection.transaction():
            for number in range(1, applied + 1):
                connection.execute(steps.up(number).encode())
            catalog = read_catalog(connection)
            for migration in load_project(self.root).migrations[1:]:
                record_applied(connection, migration)
                deployed = Event(
                    Kind.DEPLOY,
                    {"state_before": secrets.token_hex(500 * _DEPLOY_KB)},
                    version=migration.version,
                    name=migration.name,
                    checksum=migration.up.checksum,
                    before=catalog,
                    after=catalog,
                )
                evidence = {"statements": secrets.token_hex(500 * _REHEARSAL_KB)}
                rehearsed = replace(
                    deployed, kind=Kind.REHEARSAL, evidence=evidence, before=None, after=None
                )
                record(connection, rehearsed)
                record(connection, deployed)

    def deploy_one_more(self) -> float:
        """Deploy one more; gives the seconds without its proof, and keeps those of all of it."""
        self.lay(self.steps + 1)
        return self.deploy()

    def look(self) -> float:
        """Find that nothing is pending; gives the seconds of the whole process."""
        return _seconds_of([sys.executable, "-m", "pymilk", *self._arguments])()

    def deploy(self) -> float:
        """Deploy what is pending; gives the seconds without its proof."""
        told = self.root / "seconds.json"
        seconds = _seconds_of([sys.executable, str(_TIMED), str(told), *self._arguments])()
        found = json.loads(told.read_text(encoding="utf-8"))
        self.whole.append(seconds)
        self.took.append(found["steps"])
        return seconds - float(sum(found["proof"].values()))

    def steps_of_each(self) -> dict[str, list[float]]:
        """Step → its seconds, deploy by deploy, of those that are no proof."""
        return {step: [took[step] for took in self.took] for step in _STEPS}

    @property
    def _arguments(self) -> list[str]:
        where = [f"--db-url={self.url}", f"--project={self.root}"]
        return ["deploy", "--all", "--policy=local", *where]


_numbers = count(1)


def _root(folder: Path) -> Path:
    root = folder / f"project_{next(_numbers)}"
    root.mkdir()
    return root


def _new_database(server: EmbeddedServer) -> str:
    name = f"bench_{next(_numbers)}"
    with psycopg.connect(server.url("template1", SUPERUSER), autocommit=True) as connection:
        connection.execute(
            sql.SQL("create database {} template postgres owner postgres").format(
                sql.Identifier(name)
            )
        )
    return server.url(name)


def _seconds_of(
    command: list[str], environment: dict[str, str] | None = None
) -> Callable[[], float]:
    def run() -> float:
        started = time.perf_counter()
        said = subprocess.run(
            command,
            env=environment or steps.as_people_have_it(),
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - started
        if said.returncode:
            raise RuntimeError(f"{' '.join(command)}\n{said.stdout}{said.stderr}")
        return seconds

    return run
