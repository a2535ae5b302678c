"""What a run leaves on this machine while it is at work, so that the next one can tell of it.

A process that is killed writes nothing into the ledger any more, and a ledger that can't be reached
takes nothing. A file says what was tried and how far it had come; it is locked for as long as its
run lives, and removed once the ledger knows how it ended.
"""

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pymilk.database import lockfile
from pymilk.database.ledger import Kind, Outcome, person
from pymilk.deploy.basis.plan import Plan

_KILLED = "its process ended without a word: it was killed, or its machine went down"


@dataclass(frozen=True)
class Tried:
    """What a run has tried.

    Attributes:
        of: A deploy, a rollback, a rehearsal.
        run: What everything that it wrote into the ledger has in common.
        version: Of which migration.
        name: Its name.
        revision: The git commit of the project's files.
        checksum: SHA-256 of the migration's text.
        person: Who ran it.
        began: When.
        step: In which step it was; empty before the first.
        outcome: How it ended; interrupted where it could not say so.
        evidence: What the ledger is to keep of that.
    """

    of: Kind
    run: uuid.UUID
    version: str
    name: str
    revision: str | None
    checksum: str
    person: str
    began: datetime
    step: str = ""
    outcome: Outcome = Outcome.INTERRUPTED
    evidence: Mapping[str, object] = field(default_factory=lambda: {"why": _KILLED})


class Trace:
    """The file of a run that is at work; none where this machine's disk takes none.

    Attributes:
        step: The step that the run is in, or ended in; empty before the first.
    """

    def __init__(self, path: Path | None) -> None:
        self.step = ""
        self._path = path
        self._stays = False

    def reach(self, step: str) -> None:
        """A step has begun."""
        self.step = step
        self._add({"step": step})

    def ended(self, outcome: Outcome, evidence: Mapping[str, object], *, known: bool) -> None:
        """The run came to nothing.

        Args:
            outcome: How.
            evidence: What the ledger keeps of it.
            known: Whether the ledger has it; else the file stays, for the next run to tell.
        """
        self._add({"outcome": outcome, "evidence": evidence})
        self._stays = not known

    def begin(self, tried: Tried) -> None:
        """Write down what is tried."""
        self._add(asdict(tried))

    def remove(self) -> None:
        """The run is over; unless the ledger does not know of it, its file goes."""
        if self._path is not None and not self._stays:
            with suppress(OSError):
                self._path.unlink()

    def _add(self, facts: Mapping[str, object]) -> None:
        """A line more: one that is cut off in the middle hides none of those before it."""
        if self._path is not None:
            with suppress(OSError), self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(facts, default=str) + "\n")


@contextmanager
def tracing(plan: Plan, what: Kind) -> Iterator[Trace]:
    """The trace of a run, from here to the end of the block."""
    migration = plan.migration
    tried = Tried(
        *(what, plan.run, migration.version, migration.name, plan.revision.commit),
        *(migration.up.checksum, person(), datetime.now(UTC)),
    )
    with ExitStack() as stack:
        path: Path | None = None
        with suppress(OSError):
            plan.project.make_workspace()
            folder = _folder(plan)
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = folder / f"{plan.run}.jsonl"
            stack.enter_context(lockfile.held(path))
        trace = Trace(path)
        trace.begin(tried)
        try:
            yield trace
        finally:
            trace.remove()


def tell_left(plan: Plan, tell: Callable[[Tried], bool]) -> None:
    """Tell what earlier runs against this target have left on this machine.

    Args:
        plan: Of the run that tells it.
        tell: Tells one of them; gives whether its file has done its duty.
    """
    for path in sorted(_folder(plan).glob("*.jsonl")):
        # Of one that is at work the lock is held.
        with suppress(OSError), lockfile.held_if_free(path):
            tried = _read(path)
            if tried is None or tell(tried):
                path.unlink()


def _read(path: Path) -> Tried | None:
    # Few runs find what another has left, and to load it takes as long as to load the driver.
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415

    facts: dict[str, object] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        with suppress(ValueError):
            facts |= json.loads(line)
    try:
        return TypeAdapter(Tried).validate_python(facts)
    except ValidationError:
        return None  # killed before it had written what it tries


def _folder(plan: Plan) -> Path:
    return plan.project.workspace / "runs" / plan.target.folder_name
