"""Random histories of everything that anybody can do to the books, against a plain Python model.

Six sessions, real statements. After each step the answer is what the model answers, or a refusal
that the model knows; totals, statuses and the mirror are the model's to the paisa; and after each
history no invariant is broken. Steps taken at the same time have to come out as *some* serial order
of them would: the orders are tried on the model until one explains every answer and every row.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from dairy import (
    steps_app,
    steps_billing,
    steps_invoices,
    steps_money,
    steps_office,
    steps_payments,
    steps_reads,
    steps_rows,
    steps_settle,
    steps_undo,
)
from dairy.books import Books
from dairy.model import Dairy, Snapshot
from dairy.opening import begin, clean, tables
from dairy.steps import KINDS, Outcome, Rpc, Step, any_of, compare, look
from support.databases import Connection, Database

SESSIONS = 6
long = pytest.mark.long
KINDS_ARE_IN = (
    steps_app,
    steps_billing,
    steps_invoices,
    steps_money,
    steps_office,
    steps_payments,
    steps_reads,
    steps_rows,
    steps_settle,
    steps_undo,
)


@dataclass(frozen=True)
class Office:
    """Everybody's sessions on one database: each desk has one of the app and one of the office."""

    superuser: Connection
    watcher: Books
    desks: Sequence[dict[str, Connection]]
    pool: ThreadPoolExecutor
    written: list[str]
    functions: frozenset[str]

    def take(self, desk: int, step: Step, dairy: Dairy) -> Outcome:
        """Take a step at a desk."""
        return step.take(self.desks[desk][step.role], dairy)

    def take_together(self, steps: Sequence[Step], dairy: Dairy) -> list[Outcome]:
        """Take each step at a desk of its own, all at once."""
        return list(
            self.pool.map(lambda desk: self.take(desk, steps[desk], dairy), range(len(steps)))
        )


class History(RuleBasedStateMachine):
    """One history; `histories_at` makes a rule of one of its two ways to go on."""

    office: ClassVar[Office]

    def __init__(self) -> None:
        super().__init__()
        clean(self.office.superuser, self.office.written)
        self.dairy = begin(self.office.desks[0]["authenticated"], self.office.functions)
        self.agree()

    def agree(self) -> None:
        """The database says what the model says."""
        differences = compare(self.dairy, look(self.office.watcher.connection, self.dairy))
        assert not differences, "\n".join(differences)

    def step(self, desk: int, step: Step) -> None:
        """One step by itself."""
        outcome = self.office.take(desk, step, self.dairy)
        disagreement = step.disagreement(self.dairy, outcome)
        assert disagreement is None, disagreement
        self.dairy.welcome()
        self.agree()

    def together(self, steps: list[Step]) -> None:
        """Some steps at once."""
        outcomes = self.office.take_together(steps, self.dairy)
        done = list(zip(steps, outcomes, strict=True))
        crossed = {id(step) for step, outcome in done if gave_way(step, outcome)}
        if crossed:
            assert any(not isinstance(step, Rpc) for step in steps), f"RPCs alone: {outcomes}"
        found = look(self.office.watcher.connection, self.dairy)
        after = explained(self.dairy, [each for each in done if id(each[0]) not in crossed], found)
        assert after is not None, "no serial order explains this:\n" + "\n".join(
            [
                *(f"{step} -> {outcome}" for step, outcome in done),
                *(f"first: {step.disagreement(self.dairy.copy(), said)}" for step, said in done),
                *compare(self.dairy, found),
            ]
        )
        self.dairy = after
        self.dairy.welcome()

    def teardown(self) -> None:
        """No history leaves an invariant broken, but for lines that the app wrote one by one."""
        listed = {("issued_invoices_add_up", str(key)) for key in self.dairy.not_adding_up()}
        assert {(row[0], row[2]) for row in self.office.watcher.broken()} == listed
        assert self.office.watcher.violations() == {name for name, _ in listed}


def gave_way(step: Step, outcome: Outcome) -> bool:
    """Whether it met a direct write and was cleanly refused, with nothing written."""
    state = outcome.fault or ""
    return state in {"40P01", "PT409 payment_moved"} or (
        isinstance(step, Rpc) and state in {"23505", "23514"}
    )


def explained(dairy: Dairy, done: list[tuple[Step, Outcome]], found: Snapshot) -> Dairy | None:
    """The model after a serial order in which every step answers what it did answer, if any."""
    if not done:
        return None if compare(dairy, found) else dairy
    for position, (step, outcome) in enumerate(done):
        trial = dairy.copy()
        if step.disagreement(trial, outcome) is None:
            after = explained(trial, done[:position] + done[position + 1 :], found)
            if after is not None:
                return after
    return None


def histories_at(office: Office, *, batches: bool) -> type[History]:
    """The machine of this office, of all kinds of steps that its database knows."""
    kinds = [step for step in KINDS if step.needs in office.functions]
    if batches:
        together = any_of(step for step in kinds if not step.alone)
        rules = {"together": rule(steps=st.lists(together, min_size=2, max_size=SESSIONS))}
    else:
        rules = {"step": rule(desk=st.integers(0, SESSIONS - 1), step=any_of(kinds))}
    ruled = {name: each(getattr(History, name)) for name, each in rules.items()}
    return type("History", (History,), {"office": office, **ruled})


@pytest.fixture
def office(dairy_hardened: Database) -> Iterator[Office]:
    superuser = dairy_hardened.connect(user="supabase_admin", autocommit=True)
    found = superuser.execute(
        "select proname from pg_proc"
        " where pronamespace in ('public'::regnamespace, 'private'::regnamespace)"
    ).fetchall()
    with ThreadPoolExecutor(SESSIONS) as pool:
        yield Office(
            superuser=superuser,
            watcher=Books(dairy_hardened.connect(autocommit=True)),
            desks=[
                {
                    role: dairy_hardened.connect(role=role, autocommit=True)
                    for role in ("authenticated", "service_role")
                }
                for _ in range(SESSIONS)
            ],
            pool=pool,
            written=tables(superuser),
            functions=frozenset(name for (name,) in found),
        )


unhurried = settings(
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize(("histories", "steps"), [(20, 25), pytest.param(1000, 40, marks=long)])
def test_a_history_goes_as_the_model_says(office: Office, histories: int, steps: int) -> None:
    run_state_machine_as_test(
        histories_at(office, batches=False),
        settings=settings(unhurried, max_examples=histories, stateful_step_count=steps),
    )


@pytest.mark.parametrize(("histories", "steps"), [(15, 6), pytest.param(1000, 10, marks=long)])
def test_what_happens_at_once_could_have_happened_in_some_order(
    office: Office, histories: int, steps: int
) -> None:
    run_state_machine_as_test(
        histories_at(office, batches=True),
        settings=settings(
            unhurried,
            max_examples=histories,
            stateful_step_count=steps,
            phases=[Phase.generate],  # a race does not shrink
        ),
    )


@pytest.mark.long
@pytest.mark.parametrize(
    ("table", "trigger"),
    [
        ("invoice_metadata", "refuse_overpayment"),
        pytest.param("payments", "refuse_overallocation", marks=long),
        pytest.param("invoice_payments", "count_on_delete", marks=long),
    ],
)
def test_a_history_finds_what_is_missing(office: Office, table: str, trigger: str) -> None:
    office.superuser.execute(f"alter table public.{table} disable trigger {trigger}".encode())
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            histories_at(office, batches=False),
            settings=settings(
                unhurried, max_examples=300, stateful_step_count=25, phases=[Phase.generate]
            ),
        )
