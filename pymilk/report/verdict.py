"""What a person wants to know first: what happened, whether money is missing, what to do next."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from pymilk.database.ledger import Entry
from pymilk.deploy.watch.breach import Then
from pymilk.report.books import Books
from pymilk.report.deployment import Deployment
from pymilk.report.side_by_side import SideBySide
from pymilk.report.wording import Wording


class Tone(StrEnum):
    """How a verdict is to be taken."""

    GOOD = "good"
    LOOK = "look"
    BAD = "bad"
    REHEARSED = "rehearsed"

    @property
    def words(self) -> str:
        """The same for a person, whatever colours he sees."""
        return {
            Tone.GOOD: "All is well.",
            Tone.LOOK: "Have a look.",
            Tone.BAD: "Something is wrong.",
            Tone.REHEARSED: "Rehearsed.",
        }[self]


@dataclass(frozen=True)
class Todo:
    """One thing to do next; `command` is what to type, where it is done by typing."""

    words: str
    command: str = ""


@dataclass(frozen=True)
class Verdict:
    """The beginning of a report.

    Attributes:
        tone: How it is to be taken.
        sentence: All of it in one plain sentence.
        happened: What happened.
        money: Whether money is missing.
        todo: What to do next.
    """

    tone: Tone
    sentence: str
    happened: str
    money: str
    todo: tuple[Todo, ...]


def judge(seen: Deployment, compared: SideBySide, wording: Wording) -> Verdict:
    """The verdict on a deployment.

    Worst first: something broken that held before, then what nobody has looked at or answered.
    """
    if not seen.deployed:
        return _rehearsed(seen, wording)
    if seen.rollback is not None:
        return _rolled_back(seen, wording)
    broken = newly_broken(seen)
    if broken:
        return _broken(seen, compared, wording, broken)
    happened = _deployed(seen, wording)
    worries = tuple(_worries(seen, compared))
    if worries:
        briefly = " and ".join(brief for brief, _ in worries)
        return Verdict(
            Tone.LOOK,
            f"{_was_deployed(seen, wording)}, and {briefly}.",
            happened,
            _money(seen, compared),
            tuple(todo for _, todo in worries),
        )
    missing = "no money is missing" if compared.money else "nothing that it must keep has moved"
    return Verdict(
        Tone.GOOD,
        f"{_was_deployed(seen, wording)}, and {missing}.",
        happened,
        _money(seen, compared),
        (
            Todo("Nothing is urgent. Look from time to time:", "pymilk check")
            if seen.samples
            else Todo("Nothing is urgent. Have it watched for a day:", "pymilk watch --for 24h"),
            Todo("Should a customer complain, write it down:", 'pymilk note "what was said"'),
        ),
    )


def newly_broken(seen: Deployment) -> tuple[str, ...]:
    """Invariants that held before the deploy and are broken, as far as was seen last.

    Of each the newest sample counts that could read it: one that could not says nothing of it.
    """
    found = {line.partition(":")[0]: True for line in seen.after_facts.broken}
    for taken in seen.samples:
        broken = {each.invariant for each in taken.sample.breach}
        found |= {name: name in broken for name in taken.sample.invariants}
    return tuple(name for name, is_broken in found.items() if is_broken)


def judge_books(books: Books, wording: Wording) -> Verdict:
    """The verdict on the books of a moment."""
    rules = books.checked.invariants
    unread = len(books.checked.failed) + sum(bool(each.failure) for each in books.chapters)
    rows = sum(len(found.rows) for found in books.checked.violated)
    at = wording.moment(books.at)
    if books.checked.violated:
        broken = len(books.checked.violated)
        sentence = (
            f"{broken} of {len(rules)} rules of the books {'is' if broken == 1 else 'are'} broken,"
            f" by {wording.number(rows)} row{'' if rows == 1 else 's'}, as of {at}."
        )
        todo = Todo(
            "Go through them below, one by one. All of their rows:", "pymilk check --rows 100"
        )
        return Verdict(Tone.BAD, sentence, "", "", (todo,))
    if unread:
        what = "1 query" if unread == 1 else f"{unread} queries"
        sentence = f"What could be read holds, but {what} could not be, as of {at}."
        return Verdict(Tone.LOOK, sentence, "", "", (Todo("Mend what is named below."),))
    if not rules:
        sentence = f"The books as of {at}; the project has no rules to hold them against."
        return Verdict(Tone.LOOK, sentence, "", "", (Todo("Write some, in sql/invariants."),))
    return Verdict(
        Tone.GOOD, f"All rules of the books hold ({len(rules)}), as of {at}.", "", "", ()
    )


def _rehearsed(seen: Deployment, wording: Wording) -> Verdict:
    facts = seen.facts.rehearsal
    back = (
        f"; it was taken back in {wording.seconds(facts.down_seconds)}, every row as before"
        if facts.down_seconds is not None
        else "; it has NO rollback"
    )
    return Verdict(
        Tone.REHEARSED if facts.down_seconds is not None else Tone.LOOK,
        f"{seen.label} was rehearsed on a copy, and works there{back}. The live database was not"
        " changed.",
        f"On {wording.moment(seen.entry.happened_at)} a backup was restored as a copy"
        f" ({facts.where}), and {seen.label} was deployed on it,"
        f" {'verified' if facts.verified else 'NOT verified'}, taken back, used, taken back again"
        " and deployed again.",
        "No. On the copy it broke no rule of the books and changed no figure; otherwise the"
        " rehearsal would have failed.",
        (Todo("When you want it, deploy it:", f"pymilk deploy {seen.argument}"),),
    )


def _rolled_back(seen: Deployment, wording: Wording) -> Verdict:
    rollback, facts = seen.rollback, seen.rollback_facts
    if rollback is None:
        raise AssertionError("asked for only where there is one")
    broken = _broken_while_live(seen)
    kept = (
        f" What people had entered with it is kept in the archive ({len(facts.kept)} kinds, listed"
        " below) and comes back with the next deploy."
        if facts.kept
        else " Nothing had to be put away for it."
    )
    return Verdict(
        Tone.LOOK if facts.drift or seen.open_notes or broken else Tone.GOOD,
        f"{_was_deployed(seen, wording)} and taken back on {wording.moment(rollback.happened_at)};"
        + (
            " a rule of the books had been broken, and whoever wrote those rows did not take them"
            " back."
            if broken
            else " nobody owes more or less because of it."
        ),
        f"{rollback.person} took it back{_why_back(seen)}. The schema is again what it was before"
        f" the deploy.{kept}",
        _money_after_rollback(broken),
        tuple(_todo_after_rollback(seen, broken)),
    )


def _broken_while_live(seen: Deployment) -> tuple[str, ...]:
    """The invariants that were broken at any time between the deploy and its end."""
    lines = (
        *seen.after_facts.broken,
        *(line for each in seen.breaches for line in each.facts.said),
    )
    sampled = (found.invariant for taken in seen.samples for found in taken.sample.breach)
    return tuple(dict.fromkeys((*sampled, *(line.partition(":")[0] for line in lines))))


def _money_after_rollback(broken: tuple[str, ...]) -> str:
    if broken:
        return (
            "Perhaps. The rollback itself moved nothing: it compared every figure in its own"
            " transaction. But it takes the change back, not what was written meanwhile, and that"
            f" had broken a rule ({', '.join(broken)}). Until those rows are mended, the books"
            " contradict themselves."
        )
    return (
        "No. The rollback compared every figure in its own transaction; had one moved, it would"
        " have undone itself. What customers paid and ordered meanwhile is all there."
    )


def _todo_after_rollback(seen: Deployment, broken: tuple[str, ...]) -> Iterator[Todo]:
    if broken:
        yield Todo("Look whether those rows are mended, and mend them:", "pymilk check")
    for note in seen.open_notes:
        yield Todo(f"A complaint is open: {_text(note)} Look, and answer:", answer(note))
    yield Todo("Make sure that the app is back, too: it must not call what is gone.")
    yield Todo("When the cause is mended, deploy it again:", f"pymilk deploy {seen.argument}")


def _why_back(seen: Deployment) -> str:
    reasons = [f"{name}: {reason}" for name, reason in seen.rollback_facts.overrides.items()]
    if seen.breaches:
        count = len(seen.breaches)
        reasons.append(f"a watch had found {count} breach{'' if count == 1 else 'es'}")
    return f" ({'; '.join(reasons)})" if reasons else ""


def _broken(
    seen: Deployment, compared: SideBySide, wording: Wording, broken: tuple[str, ...]
) -> Verdict:
    named = ", ".join(broken)
    count = f"{len(broken)} rule{'' if len(broken) == 1 else 's'} of the books"
    return Verdict(
        Tone.BAD,
        f"Since {seen.label} was deployed on"
        f" {wording.moment(seen.entry.happened_at)}, {count} that held before"
        f" {'is' if len(broken) == 1 else 'are'} broken.",
        f"{_deployed(seen, wording)} Broken since: {named}.",
        # What the deploy itself moved is told, and is no answer here.
        f"Perhaps. {_money(seen, compared).removeprefix('No. ')} But a broken rule means that what"
        " is written down contradicts itself; the rows named below tell where.",
        (
            Todo("See which rows it is, and what to do about each:", "pymilk check"),
            Todo(
                "If it is not explained within minutes, take it back; no row is lost:",
                f"pymilk rollback {seen.argument}{_keeping(seen)}",
            ),
        ),
    )


def _keeping(seen: Deployment) -> str:
    """What to add where a watch has met rows that a rollback would lose: it asks then."""
    lost = any(each.facts.then == Then.ROWS_WOULD_BE_LOST for each in seen.breaches)
    return " --archive" if lost else ""


def _worries(seen: Deployment, compared: SideBySide) -> Iterator[tuple[str, Todo]]:
    """What deserves a look, and is no proof that anything is wrong: in brief, and what to do."""
    if seen.after is None:
        yield (
            "nobody has looked at it since it was committed",
            Todo("Nobody has looked at it since. Look now:", "pymilk check"),
        )
    unread = seen.samples[-1].sample.failed if seen.samples else {}
    if unread:
        count = len(unread)
        yield (
            f"{count} rule{'' if count == 1 else 's'} could not be read when last looked at",
            Todo(f"See why {', '.join(unread)} can't be read, and mend it:", "pymilk check"),
        )
    if seen.breaches or seen.after_facts.broken:
        yield (
            "a rule was broken for a while and holds again",
            Todo("Find out who wrote the rows named below. What holds now:", "pymilk check"),
        )
    if seen.open_notes:
        count = len(seen.open_notes)
        yield (
            f"{count} complaint{'' if count == 1 else 's'} wait{_s(count)} for an answer",
            Todo(
                f"A complaint is open: {_text(seen.open_notes[0])} Look, and answer:",
                answer(seen.open_notes[0]),
            ),
        )
    if compared.moved and seen.facts.steps is not None:
        yield (
            f"{compared.moved} figure{'' if compared.moved == 1 else 's'} moved meanwhile",
            Todo("It ran in steps: compare what moved, listed below, with what was entered then."),
        )


def answer(note: Entry) -> str:
    """The command that answers a note."""
    return f'pymilk note --answer {note.id} "what was found"'


def _text(note: Entry) -> str:
    text = str(note.evidence.get("text", ""))
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _was_deployed(seen: Deployment, wording: Wording) -> str:
    return f"{seen.label} was deployed on {wording.moment(seen.entry.happened_at)}"


def _deployed(seen: Deployment, wording: Wording) -> str:
    facts = seen.facts
    parts = [
        (
            f"{seen.entry.person} deployed it to {seen.database} on"
            f" {wording.moment(seen.entry.happened_at)}"
        )
    ]
    if facts.steps is not None:
        parts.append(f"in {facts.steps} steps")
    else:
        parts.append("in one transaction, of which all is there")
    sentence = f"{', '.join(parts)}, after a rehearsal on a restored copy."
    if facts.given_back:
        rows = sum(facts.given_back.values())
        row = "row" if rows == 1 else "rows"
        sentence += f" It gave back {rows:,} {row} that an earlier rollback had kept."
    return sentence


def _money(seen: Deployment, compared: SideBySide) -> str:
    standing = seen.facts.standing
    old = (
        f" {len(standing)} rule{'' if len(standing) == 1 else 's'} of the books"
        f" {'was' if len(standing) == 1 else 'were'} broken before already ({', '.join(standing)})."
        if standing
        else ""
    )
    if not compared.figures:
        return (
            "The project has no figures to compare (sql/state), so only its rules tell: none is"
            f" broken that held before.{old}"
        )
    if not compared.looked:
        return (
            "Not by the deploy itself: it would have undone itself. What came after it nobody has"
            f" looked at.{old}"
        )
    if not compared.moved:
        return (
            f"No. All {compared.compared:,} figures (who owes what, and the totals) are to the"
            f" last digit what they were.{old}"
        )
    what = f"{compared.moved:,} of {compared.compared:,} figures moved between the two looks"
    if seen.facts.steps is not None:
        return f"{what}; customers went on meanwhile. They are listed below.{old}"
    return (
        f"No. {what}, because customers paid or ordered in those seconds (listed below). The deploy"
        f" itself moved none: it would have undone itself.{old}"
    )


def _s(count: int) -> str:
    return "s" if count == 1 else ""
