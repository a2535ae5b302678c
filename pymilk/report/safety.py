"""Whom a deploy kept waiting, and the proof that it can be taken back."""

from collections.abc import Iterator
from dataclasses import dataclass

from pymilk.database.row_types import REFUSAL
from pymilk.report.deployment import Deployment
from pymilk.report.facts import LostFacts
from pymilk.report.verdict import Todo
from pymilk.report.wording import Wording


@dataclass(frozen=True)
class Waiting:
    """Locks, and who waited for them; and whom the change refuses until he connects again.

    Attributes:
        live: What was measured on the live database, a sentence each.
        tables: Table, mode of its strongest lock, whom it keeps waiting, for how long as rehearsed.
        refused: Who has to connect again, as rehearsed; empty where nobody has to.
    """

    live: tuple[str, ...]
    tables: tuple[tuple[str, str, str, str], ...]
    refused: str


def waiting_of(seen: Deployment, wording: Wording) -> Waiting:
    """The locks of a deployment."""
    locks = seen.facts.rehearsal.locks
    longest_first = sorted(locks.items(), key=lambda found: -found[1].seconds)
    return Waiting(
        tuple(_live(seen, wording)),
        tuple(
            (table, lock.mode, lock.blocks, wording.seconds(lock.seconds))
            for table, lock in longest_first
        ),
        _refused(seen.facts.rehearsal.reshaped),
    )


def _refused(reshaped: tuple[str, ...]) -> str:
    if not reshaped:
        return ""
    return (
        f"It changes columns of {', '.join(reshaped)}. A program that stays connected and has"
        f" prepared a 'select *' of that gets an error ({REFUSAL}) until it connects again: restart"
        " such programs after the deploy, and after a rollback."
    )


def _live(seen: Deployment, wording: Wording) -> Iterator[str]:
    rehearsed = seen.facts.rehearsal.strong_lock_seconds
    if not seen.deployed:
        yield (
            f"As rehearsed, it keeps somebody waiting for {wording.seconds(rehearsed)}."
            if rehearsed
            else "As rehearsed, it keeps nobody waiting."
        )
        return
    facts = seen.after_facts
    if facts.locked_seconds is None:
        held = seen.facts.locked_seconds
        if held:
            yield f"Its strong locks had been held for {wording.seconds(held)} before it committed."
        yield "How long they were held to the end was not written down."
    elif not facts.locked_seconds or not rehearsed:
        yield "It took no lock that keeps readers or writers waiting."
    else:
        attempts = facts.attempts or 1
        yield (
            f"Its strong locks were held for {wording.seconds(facts.locked_seconds)}; they were had"
            f" at attempt {attempts}."
        )
        if facts.queue_ms is not None:
            longest = facts.queue_ms / 1000 + facts.locked_seconds
            yield (
                f"Nobody waited for longer than {wording.seconds(longest)} at a time: an attempt"
                f" queues for at most {facts.queue_ms} ms, and then gives way."
            )
    waits = [taken.sample.waits for taken in seen.samples if taken.sample.waits.sessions]
    if seen.samples:
        yield (
            f"The watch saw sessions wait for a lock in {len(waits)} of {len(seen.samples)}"
            f" samples, {wording.seconds(max(each.longest_seconds for each in waits))} at most."
            if waits
            else f"The watch saw nobody wait for a lock, in {len(seen.samples)} samples."
        )


@dataclass(frozen=True)
class WayBack:
    """How to take it back, and what proves that this works.

    Attributes:
        proof: What the rehearsal showed, a sentence each.
        takes: What a rollback puts into the archive when it has been used, a line each.
        todo: What to type, each with what it is for.
        missing: Why there is no proven way back; empty where there is one.
    """

    proof: tuple[str, ...]
    takes: tuple[str, ...]
    todo: tuple[Todo, ...]
    missing: str


def way_back_of(seen: Deployment, wording: Wording) -> WayBack:
    """The way back of a deployment."""
    used = seen.facts.rehearsal.used
    if seen.facts.rehearsal.down_seconds is None:
        reason = seen.migration.irreversible if seen.migration else None
        missing = (
            f"It has no rollback{f' ({reason})' if reason else ''}: only the backup brings back"
            " what was."
        )
        how = Todo("Nothing is overwritten by it; docs/runbook.md says the rest:", "pymilk restore")
        return WayBack((), (), (how,), missing)
    lost = tuple(_lost(each) for each in used.lost)
    return WayBack(tuple(_proof(seen, wording)), lost, tuple(_how(seen)), "")


def _how(seen: Deployment) -> Iterator[Todo]:
    rollback = f"pymilk rollback {seen.argument}"
    if seen.rollback is not None:
        yield Todo("It is taken back. To deploy it again:", f"pymilk deploy {seen.argument}")
    elif not seen.deployed:
        yield Todo("Once it is deployed, this takes it back:", rollback)
    else:
        yield Todo("This takes it back, at any time of the day:", rollback)
        if seen.migration is not None and seen.migration.gap:
            yield Todo("The same with make:", f"make rollback-gap GAP={seen.migration.gap}")
        yield Todo(
            "If it says that rows would be lost, this keeps them for the next deploy:",
            f"{rollback} --archive",
        )


def _proof(seen: Deployment, wording: Wording) -> Iterator[str]:
    rehearsal, used = seen.facts.rehearsal, seen.facts.rehearsal.used
    yield (
        f"On a restored copy of these very data it was deployed and rolled back, in"
        f" {wording.seconds(rehearsal.down_seconds or 0)}: the schema and every row were exactly as"
        " before. Deployed again, it came out the same."
    )
    if used.unused:
        yield f"It was not used there before: {used.unused}"
    if used.down_seconds is not None:
        yield (
            f"Then people's work was done with it ({len(used.scripts)} workloads, which wrote to"
            f" {len(used.tables)} tables), and it was rolled back with that in place, in"
            f" {wording.seconds(used.down_seconds)}: nothing was lost but what the archive takes,"
            " and the next deploy gave that back."
        )
    for table, rows in used.left.items():
        yield f"Of {table}, {rows:,} rows stayed in the archive: newer values stood there."
    if used.rewritten:
        yield f"The change rewrites rows of {', '.join(used.rewritten)}: those were others then."


def _lost(lost: LostFacts) -> str:
    columns = f".{', '.join(lost.columns)}" if lost.kind == "column" else ""
    what = "changed rows of" if lost.kind == "changed" else lost.kind
    return f"{what} {lost.table}{columns}: {lost.rows:,} row{'' if lost.rows == 1 else 's'}"
