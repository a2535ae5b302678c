"""Target 5: the deploy engine.

One more migration on 200 applied ones, with fingerprints, verification and ledger: at most 2 times
a minimal runner, and ahead of Alembic, Sqitch, the Supabase CLI and Liquibase; 200 deployed one by
one with full proof in at most half of what Sqitch with verify needs; nothing to do in less than
0.3 s; `pymilk --help` in less than 0.15 s.

Readings. *One more*: the whole command `pymilk deploy`, with its proof on a copy; the same without
what belongs to the copy (backup, restore test, rehearsal, and the server for it): the interpreter's
start, preflight, the change with fingerprints, verification and ledger, the look afterwards;
and the step that changes the database, alone, or with preflight and look. Commands are held against
commands, steps against the minimal runner's own work from its connection to its end. *200 one by
one, with full proof*: everything; the same without what belongs to the copies; and the steps that
change the database alone. *Nothing to do*: `deploy`, `deploy --all`, and `deploy` of one that is
deployed.

Left out where it is not installed: each of the others. Sqitch's changes are run by psql, and
everybody comes over TCP.
"""

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from independent import runners
from independent.command import Ended, Project, pymilk_alone, run
from independent.figures import (
    Comparison,
    Effort,
    Figure,
    Measured,
    at_most,
    in_turns,
    middle,
    tell,
)
from independent.server import ON_LOOPBACK, Server, running

_TARGET = 5
_STEPWISE = str(Path(__file__).resolve().parent / "stepwise.py")
_OURS = "pymilk"
_EMPTY = "empty"
_OF_THE_COPY = ("bench", "backup", "restore test", "rehearsal")

_WHOLE = "the whole command, with its proof on a copy"
_WITHOUT = "the command without the proof on a copy"
_STEPS = "preflight, change and look"
_CHANGE = "the change"
_WORK = "minimal, its work alone"
_PATIENT_ROUNDS = 2


def measure(effort: Effort) -> Iterator[Figure]:
    """Target 5, figure by figure."""
    with running(ON_LOOPBACK) as server, tempfile.TemporaryDirectory() as name:
        bench = _Bench(server, Path(name), effort)
        yield from bench.deploy_many()
        yield from bench.deploy_one_more()
        yield from bench.do_nothing()


class _Bench:
    """Every tool with two folders: of 200 migrations, and of 201."""

    def __init__(self, server: Server, folder: Path, effort: Effort) -> None:
        self._server = server
        self._effort = effort
        self._count = effort.pick(200, 4)
        self._folders = {}
        self._peers = {tool: each for tool, each in runners.RUNNERS.items() if each.installed}
        for tool in runners.RUNNERS.keys() - self._peers.keys():
            tell(f"left out, it isn't here: {tool}")
        writes = {tool: each.write for tool, each in self._peers.items()}
        for tool, write in (*writes.items(), (_OURS, runners.write_pymilk)):
            for count in (self._count, self._count + 1):
                self._folders[tool, count] = folder / f"{tool.replace(' ', '_')}_{count}"
                write(self._folders[tool, count], count)
        server.create(_EMPTY, migrate=False)
        with server.connect(_EMPTY) as session:
            session.execute(runners.BASELINE.encode())

    @staticmethod
    def _database(tool: str) -> str:
        return f"at_200_{tool.replace(' ', '_').lower()}"

    def deploy_many(self) -> Iterator[Figure]:
        """200, one by one; what stays is where one more is deployed."""
        taken: Measured = {}
        measured = in_turns(
            {
                _WHOLE: partial(self._many_of_ours, taken),
                **{tool: partial(self._many, tool) for tool in self._peers},
            },
            min(self._effort.rounds, _PATIENT_ROUNDS),
        )
        measured.update(taken)
        for reference, limit in (
            ("Sqitch with verify", at_most(0.5)),
            *((tool, None) for tool in self._peers if tool != "Sqitch with verify"),
        ):
            if reference in self._peers:
                compared = Comparison(_TARGET, measured, limit)
                for reading in (_WHOLE, _WITHOUT, _CHANGE):
                    yield compared.figure(
                        f"{self._count} one by one, against {reference}",
                        reading,
                        reading,
                        reference,
                    )
        yield Figure(
            _TARGET,
            f"{self._count} one by one",
            "seconds of each step, the last round",
            tuple(measured[_WHOLE]),
            "s",
            None,
            self._steps,
        )

    def _many(self, tool: str) -> float:
        self._server.clone(self._database(tool), _EMPTY)
        folder = self._folders[tool, self._count]
        seconds = self._peers[tool].run(self._database(tool), folder).seconds
        self._refuse_undone(self._database(tool), self._count)
        return seconds

    def _many_of_ours(self, taken: Measured) -> float:
        database = self._database(_OURS)
        self._server.clone(database, _EMPTY)
        folder = self._folders[_OURS, self._count]
        Project(folder, self._server.loopback(database)).pymilk("adopt", "--yes")
        seconds = self._stepwise(database, folder, taken)
        self._refuse_undone(database, self._count)
        return seconds

    def _stepwise(self, database: str, folder: Path, taken: Measured) -> float:
        """Deploy what is pending; the seconds of all, and into `taken` those of its parts."""
        ended = run(
            [sys.executable, _STEPWISE, self._server.loopback(database), str(folder)], folder
        )
        steps: dict[str, float] = json.loads(ended.out)
        self._steps = ", ".join(f"{step} {seconds:.3g}" for step, seconds in steps.items())
        parts = {
            _WITHOUT: ended.seconds - sum(steps[step] for step in _OF_THE_COPY),
            _STEPS: steps["preflight"] + steps["apply"] + steps["after"],
            _CHANGE: steps["apply"],
        }
        for part, seconds in parts.items():
            taken.setdefault(part, []).append(seconds)
        return ended.seconds

    def deploy_one_more(self) -> Iterator[Figure]:
        """One more, on a copy of what is there each time."""
        parts: Measured = {}
        measured = in_turns(
            {
                _WHOLE: self._one_more_by_command,
                "stepwise": partial(self._one_more_stepwise, parts),
                **{tool: partial(self._one_more, tool, parts) for tool in self._peers},
            },
            self._effort.rounds,
        )
        measured.update(parts)
        name = f"one more on {self._count}"
        twice = Comparison(_TARGET, measured, at_most(2))
        for reading, reference in (
            (_WHOLE, "minimal"),
            (_WITHOUT, "minimal"),
            (_STEPS, _WORK),
            (_CHANGE, _WORK),
        ):
            yield twice.figure(
                f"{name}, against the minimal runner",
                f"{reading}; {'its work alone' if reference == _WORK else 'as a command'}",
                reading,
                reference,
            )
        ahead = Comparison(_TARGET, measured, at_most(1))
        for tool in self._peers:
            if tool != "minimal":
                for reading in (_WHOLE, _WITHOUT):
                    yield ahead.figure(f"{name}, against {tool}", reading, reading, tool)

    def _clone(self, tool: str) -> str:
        self._server.clone("one_more", self._database(tool))
        return "one_more"

    def _one_more(self, tool: str, parts: Measured) -> float:
        database = self._clone(tool)
        ended = self._peers[tool].run(database, self._folders[tool, self._count + 1])
        self._refuse_undone(database, self._count + 1)
        if tool == "minimal":
            parts.setdefault(_WORK, []).append(float(ended.out))
        return ended.seconds

    def _one_more_by_command(self) -> float:
        database = self._clone(_OURS)
        project = Project(self._folders[_OURS, self._count + 1], self._server.loopback(database))
        ended = project.pymilk("deploy", "--yes")
        self._refuse_undone(database, self._count + 1)
        return ended.seconds

    def _one_more_stepwise(self, parts: Measured) -> float:
        database = self._clone(_OURS)
        seconds = self._stepwise(database, self._folders[_OURS, self._count + 1], parts)
        self._refuse_undone(database, self._count + 1)
        return seconds

    def _refuse_undone(self, database: str, number: int) -> None:
        with self._server.connect(database) as session:
            session.execute(f"select public.f{number}() from public.t{number}".encode())

    def do_nothing(self) -> Iterator[Figure]:
        """Nothing to do, and nothing but help."""
        folder = self._folders[_OURS, self._count]
        project = Project(folder, self._server.loopback(self._database(_OURS)))
        last = runners.stem(self._count).split("_", 1)[0]
        nothing = {
            "pymilk deploy": partial(project.pymilk, "deploy", "--yes"),
            "pymilk deploy --all": partial(project.pymilk, "deploy", "--all", "--yes"),
            "pymilk deploy of what is deployed": partial(project.pymilk, "deploy", last, "--yes"),
        }
        help_ = {
            "pymilk --help": partial(pymilk_alone, folder, "--help"),
            "pymilk deploy --help": partial(pymilk_alone, folder, "deploy", "--help"),
        }

        tries = self._effort.pick(5, 1)

        def seconds_of(command: Callable[[], Ended]) -> float:
            return middle(command().seconds for _ in range(tries))

        measured = in_turns(
            {name: partial(seconds_of, command) for name, command in {**nothing, **help_}.items()},
            self._effort.rounds,
        )
        for name, seconds in measured.items():
            yield Figure(
                _TARGET,
                name,
                f"{self._count} applied, nothing to do" if name in nothing else "the command",
                tuple(seconds),
                "s",
                at_most(0.3 if name in nothing else 0.15),
                f"each the median of {tries}",
            )
