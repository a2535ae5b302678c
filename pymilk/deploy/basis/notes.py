"""What people say of a database, kept beside what was done to it.

"Customer 47 says the bill is wrong" stops the soak clock of the newest deploy until somebody has
looked and answered.
"""

from pymilk.database.connection import Target, connect
from pymilk.database.ledger import (
    Entry,
    Event,
    Kind,
    ledger_exists,
    prepare_ledger,
    read_entries,
    record,
)
from pymilk.problem import Problem, UsageProblem


def add_note(target: Target, text: str, *, answers: int | None = None) -> int:
    """Write a note into the ledger; gives its number.

    Args:
        target: The database that it is about.
        text: What was said.
        answers: The number of the note that it answers, if any.

    Raises:
        UsageProblem: It says nothing, or what it answers is no open note.
        Problem: There is no ledger yet.
    """
    if not text.strip():
        raise UsageProblem(
            "The note says nothing.",
            state="Nothing was written.",
            todo='Say it in a sentence: pymilk note "customer 47 says the bill is wrong".',
        )
    with connect(target.url, purpose="note") as connection:
        if not ledger_exists(connection):
            raise Problem(
                "This database has no ledger yet: pymilk has done nothing here.",
                state="Nothing was written.",
                todo="Take it into care first: pymilk adopt",
            )
        prepare_ledger(connection)
        with connection.transaction():
            # Two answers to one note at once: the second finds it answered.
            connection.execute("select pg_advisory_xact_lock(hashtext('pymilk notes'))")
            if answers is not None:
                _refuse_answered(open_notes(read_entries(connection)), answers)
            return record(connection, Event(Kind.NOTE, {"text": text.strip()}, answers=answers))


def open_notes(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """The notes that nobody has answered, oldest first."""
    answered = {entry.answers for entry in entries}
    return tuple(
        entry
        for entry in entries
        if entry.kind is Kind.NOTE and entry.answers is None and entry.id not in answered
    )


def said(note: Entry) -> str:
    """A note in one line."""
    return f"note {note.id}, {note.happened_at:%Y-%m-%d %H:%M} UTC: {note.evidence.get('text', '')}"


def _refuse_answered(waiting: tuple[Entry, ...], number: int) -> None:
    if number not in {note.id for note in waiting}:
        known = "; ".join(said(note) for note in waiting)
        raise UsageProblem(
            f"{number} is no note that waits for an answer.",
            state="Nothing was written.",
            todo=f"Open: {known}." if known else "There is no open note.",
        )
