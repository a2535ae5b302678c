"""A complaint stops the soak clock until it is answered, and the ledger tells all of it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from pymilk.database.connection import Target
from pymilk.database.ledger import Entry, Event, Kind, Outcome, read_entries, record
from pymilk.deploy.basis.notes import add_note, open_notes
from pymilk.deploy.basis.past import read_past, tell, without_proofs
from pymilk.deploy.health.samples import Moment
from pymilk.deploy.health.soak import Soak, read_soak, soaking
from pymilk.deploy.survey.status import read_status
from pymilk.problem import Problem, UsageProblem
from pymilk.project.policy import Policy, Preset, SoakCounts
from support.databases import Database
from support.projects import Toy

NOON = datetime(2025, 9, 17, 12, tzinfo=UTC)
SAID = "customer 47 says the bill is wrong"


def hours(count: float) -> datetime:
    """So many hours after noon."""
    return NOON + timedelta(hours=count)


def entry(number: int, kind: Kind, at: float, answers: int | None = None) -> Entry:
    return Entry(
        id=number,
        kind=kind,
        happened_at=hours(at),
        person="asha@desk",
        version="2" if kind is Kind.DEPLOY else None,
        name="gap_001_x",
        checksum=None,
        before=None,
        after=None,
        evidence={"text": SAID},
        revision=None,
        database_role="postgres",
        outcome=Outcome.DONE,
        run=None,
        plan_hash=None,
        step=None,
        answers=answers,
        tool=None,
        client_address=None,
    )


LIVE = Policy(soak_hours=24, soak_counts=SoakCounts.LIVE)
WATCHED = Policy(soak_hours=24, watch_gap_minutes=60)


def soak_of(*entries: Entry, now: float) -> Soak:
    (deploy,) = (found for found in entries if found.kind is Kind.DEPLOY)
    return soaking(entries, deploy, (), LIVE, hours(now))


DEPLOYED = entry(1, Kind.DEPLOY, 0)


def watched_at(*at: float, broken: tuple[float, ...] = ()) -> tuple[Moment, ...]:
    return tuple(Moment(hours(each), each in broken, UUID(int=1)) for each in at)


def watched(*moments: Moment, now: float, notes: tuple[Entry, ...] = ()) -> Soak:
    return soaking((DEPLOYED, *notes), DEPLOYED, moments, WATCHED, hours(now))


class TestWatchedTime:
    """Only time that somebody watched counts, and in which nothing was broken."""

    def test_time_that_nobody_watched_does_not_count(self) -> None:
        assert watched(now=99).passed == 0
        assert watched(*watched_at(5, 6), now=99).passed == pytest.approx(1)

    def test_looks_that_lie_close_enough_vouch_for_what_is_between(self) -> None:
        assert watched(*watched_at(0.5, 1.5, 2), now=2).passed == pytest.approx(2)
        assert watched(*watched_at(0.5, 1.51, 2), now=2).passed == pytest.approx(0.99)
        assert watched(*watched_at(0.5), now=24).passed == pytest.approx(0.5)

    def test_it_is_over_when_enough_was_watched(self) -> None:
        moments = watched_at(*range(1, 25))
        assert not watched(*moments[:-1], now=24).over
        assert watched(*moments, now=24).over
        assert watched(*moments[:20], now=60).until == hours(64)

    def test_time_in_which_something_was_broken_does_not_count(self) -> None:
        moments = watched_at(1, 2, 3, 4, 5, broken=(3, 4))
        soak = watched(*moments, now=5)
        assert soak.passed == pytest.approx(2)
        assert not soak.broken
        assert watched(*watched_at(1, broken=(1,)), now=1).passed == 0

    def test_as_long_as_something_is_broken_it_is_not_over(self) -> None:
        moments = watched_at(*range(1, 31), broken=(30,))
        soak = watched(*moments, now=30)
        assert soak.passed == pytest.approx(29)
        assert not soak.over

    def test_a_look_that_could_not_read_everything_vouches_for_nothing(self) -> None:
        blind = [Moment(hours(at), breach=False, watch=UUID(int=1), whole=False) for at in (2, 3)]
        looks = (*watched_at(1), *blind, *watched_at(4, 5))
        assert watched(*looks, now=5).passed == pytest.approx(2)
        # It does not end what was broken before it, either; broken is broken, however it was seen.
        broken = watched_at(1, broken=(1,))
        assert watched(*broken, blind[0], now=2).passed == 0
        assert watched(*broken, blind[0], now=2).broken
        seen = Moment(hours(1), breach=True, watch=UUID(int=1), whole=False)
        assert watched(seen, now=1).broken

    def test_a_complaint_stops_this_clock_as_well(self) -> None:
        notes = (entry(2, Kind.NOTE, 1.5), entry(3, Kind.NOTE, 4, answers=2))
        assert watched(*watched_at(1, 2, 3, 4, 5), now=5, notes=notes).passed == pytest.approx(2.5)


class TestTheClock:
    """Hours live, less the hours of open complaints."""

    def test_it_runs_from_the_deploy(self) -> None:
        assert not soak_of(DEPLOYED, now=23.9).over
        assert soak_of(DEPLOYED, now=24).over
        assert soak_of(DEPLOYED, now=6).until == hours(24)

    def test_an_open_note_stops_it_however_long_ago_the_deploy_was(self) -> None:
        soak = soak_of(DEPLOYED, entry(2, Kind.NOTE, 30), now=99)
        assert not soak.over
        assert [note.id for note in soak.waiting] == [2]
        assert soak.passed == pytest.approx(30)

    def test_answered_it_goes_on_where_it_stood(self) -> None:
        told = (DEPLOYED, entry(2, Kind.NOTE, 10), entry(3, Kind.NOTE, 15, answers=2))
        assert not soak_of(*told, now=28).over
        assert soak_of(*told, now=28).until == hours(29)
        assert soak_of(*told, now=29).over

    def test_complaints_at_the_same_time_stop_it_once(self) -> None:
        told = (
            DEPLOYED,
            entry(2, Kind.NOTE, 10),
            entry(3, Kind.NOTE, 11),
            entry(4, Kind.NOTE, 12, answers=3),
            entry(5, Kind.NOTE, 15, answers=2),
        )
        assert soak_of(*told, now=29).passed == pytest.approx(24)

    def test_one_from_before_the_deploy_stops_it_from_the_deploy_on(self) -> None:
        note, deploy = entry(1, Kind.NOTE, -5), entry(2, Kind.DEPLOY, 0)
        assert soak_of(note, deploy, now=30).passed == pytest.approx(0)
        answer = entry(3, Kind.NOTE, 2, answers=1)
        assert soak_of(note, deploy, answer, now=26).passed == pytest.approx(24)
        before = entry(3, Kind.NOTE, -1, answers=1)
        assert soak_of(note, before, deploy, now=24).passed == pytest.approx(24)


def test_what_is_not_live_does_not_soak(shop: Database) -> None:
    session = shop.connect(autocommit=True)
    assert read_soak(session, (DEPLOYED,), {"1"}, LIVE, hours(1)) is None
    nothing = Policy(soak_hours=0)
    assert read_soak(session, (DEPLOYED,), {"2"}, nothing, hours(1)) is None
    soak = read_soak(session, (DEPLOYED,), {"1", "2"}, LIVE, hours(1))
    assert soak is not None
    assert soak.passed == pytest.approx(1)


def target(database: Database) -> Target:
    return Target(database.url, Preset.LIVE)


def test_a_note_is_open_until_it_is_answered_once(shop: Database, toy: Toy) -> None:
    session = shop.connect(autocommit=True)
    number = add_note(target(shop), f"  {SAID}\n")
    (waiting,) = open_notes(read_entries(session))
    assert (waiting.id, waiting.evidence) == (number, {"text": SAID})
    (shown,) = read_status(shop.url, toy.plan(shop).project).notes
    assert SAID in shown
    answer = add_note(target(shop), "it was right", answers=number)
    assert open_notes(read_entries(session)) == ()
    told = tell(shop.url, number).answer
    assert told is not None
    assert told.id == answer
    for nothing in (number, answer, 99):
        with pytest.raises(UsageProblem, match="no note that waits") as refused:
            add_note(target(shop), "again", answers=nothing)
        assert refused.value.todo == "There is no open note."


def test_two_answers_at_once_are_one(shop: Database) -> None:
    number = add_note(target(shop), SAID)

    def answer(_: int) -> bool:
        try:
            add_note(target(shop), "looked into it", answers=number)
        except UsageProblem:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(answer, range(4))) == 1


def test_a_note_says_something_and_is_kept_where_pymilk_is(empty_database: Database) -> None:
    with pytest.raises(UsageProblem, match="says nothing"):
        add_note(target(empty_database), " ")
    with pytest.raises(Problem, match="no ledger yet") as refused:
        add_note(target(empty_database), SAID)
    assert "pymilk adopt" in refused.value.todo


def test_a_deploy_is_told_with_what_proved_it(shop: Database, toy: Toy) -> None:
    session = shop.connect(autocommit=True)
    plan = toy.plan(shop)
    for kind in (Kind.BACKUP, Kind.REHEARSAL, Kind.DEPLOY):
        last = record(session, Event(kind, {}, run=plan.run))
    record(session, Event(Kind.REHEARSAL, {}, run=toy.plan(shop).run))
    kinds = [found.kind for found in without_proofs(read_past(shop.url))]
    assert kinds == [Kind.ADOPT, Kind.DEPLOY, Kind.REHEARSAL]
    assert [found.kind for found in tell(shop.url, last).run] == [Kind.BACKUP, Kind.REHEARSAL]
    with pytest.raises(UsageProblem, match="no event 999"):
        tell(shop.url, 999)
