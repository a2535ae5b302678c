"""A plan with its evidence, to be approved by one person and applied by another.

It pins what is deployed, where to, under which rules, from which schema to which, and what the
rehearsal found. Applying it proves all of it anew, on a new backup, and refuses when anything came
out otherwise: an approval is never a reason to skip a proof.

There is no secret in it and no row: schemas are told by the hash of each object (a trigger may
call a webhook with a key), what a rollback loses by its count.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pymilk.database.catalog import Catalog
from pymilk.database.connection import Connection
from pymilk.database.ledger import person
from pymilk.deploy.basis.evidence import Evidence
from pymilk.deploy.basis.plan import Plan
from pymilk.deploy.change.kept import rehearsal_facts
from pymilk.problem import Problem, UsageProblem
from pymilk.project.policy import hours_since

_FORMAT = 1
_UNTOUCHED = "Nothing was changed."


class Moved(Problem):
    """What was approved isn't what would be applied now."""


@dataclass(frozen=True)
class Approval:
    """What was approved.

    Attributes:
        made_at: When it was rehearsed.
        made_by: By whom, and from where.
        migration: Its stem.
        target: The database, without its password.
        ledger: What tells this database's ledger from any other's.
        texts: File → checksum: the migration's own, and the queries that are compared.
        policy: The rules that applied.
        overrides: Check → the reason for going on without it.
        before: The schema before: object → hash.
        after: The same after.
        backup: The backup that it was rehearsed on: its folder's name, and when it was taken.
        rehearsal: What the rehearsal found, as the ledger keeps it.
    """

    made_at: datetime
    made_by: str
    migration: str
    target: str
    ledger: str
    texts: Mapping[str, str]
    policy: Mapping[str, Any]
    overrides: Mapping[str, str]
    before: Mapping[str, str]
    after: Mapping[str, str]
    backup: Mapping[str, str]
    rehearsal: Mapping[str, Any]

    @property
    def hash(self) -> str:
        """What the ledger keeps of it."""
        said = json.dumps(_as_json(self), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(said.encode()).hexdigest()


def approval_of(plan: Plan, connection: Connection, evidence: Evidence) -> Approval:
    """What there is to approve once a plan is rehearsed; the connection is to its target."""
    rehearsed, taken = evidence.rehearsal, evidence.backup
    if rehearsed is None or taken is None:
        raise AssertionError("nothing is approved before it was backed up and rehearsed")
    return Approval(
        made_at=datetime.now(UTC),
        made_by=person(),
        migration=plan.migration.stem,
        target=plan.target.label,
        ledger=_ledger_of(connection),
        texts=_texts(plan),
        policy=plan.policy.as_json(),
        overrides=dict(plan.overrides),
        before=_hashes(rehearsed.before),
        after=_hashes(rehearsed.after),
        backup={
            "folder": taken.backup.folder.name,
            "taken_at": taken.backup.taken_at.isoformat(),
        },
        rehearsal=json.loads(json.dumps(rehearsal_facts(rehearsed), default=str)),
    )


def save_approval(approval: Approval, path: Path) -> None:
    """Write it down.

    Raises:
        UsageProblem: It can't be written there.
    """
    document = {"pymilk plan": _FORMAT, "hash": approval.hash, **_as_json(approval)}
    try:
        path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageProblem(
            f"The plan can't be written to {path}: {error.strerror or error}.",
            state=_UNTOUCHED,
            todo="Name another file.",
        ) from error


def load_approval(path: Path) -> Approval:
    """Read it again.

    Raises:
        UsageProblem: It is no plan, or was altered since it was saved.
    """
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        form, said = document.pop("pymilk plan"), document.pop("hash")
        document["made_at"] = datetime.fromisoformat(document["made_at"])
        approval = Approval(**document)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageProblem(
            f"{path} is no plan of pymilk: {error}.",
            state="No database was touched.",
            todo="Make one: pymilk rehearse NAME --save FILE",
        ) from error
    if form != _FORMAT or approval.hash != said:
        raise UsageProblem(
            f"{path} was altered after it was saved, or another version of pymilk wrote it.",
            state="No database was touched.",
            todo="Rehearse again and have that approved: pymilk rehearse NAME --save FILE",
        )
    return approval


def refuse_moved(approval: Approval, plan: Plan, connection: Connection, now: datetime) -> None:
    """Refuse when what was approved isn't what this plan would do, before anything is done.

    Raises:
        Moved: Text, database, rules or overrides are others, or it is too old.
    """
    moved = [
        *_differing("file", approval.texts, _texts(plan)),
        *_differing("policy", approval.policy, plan.policy.as_json()),
        *_differing("override", approval.overrides, plan.overrides),
    ]
    if approval.target != plan.target.label:
        moved.append(f"it was made for {approval.target}, this is {plan.target.label}")
    elif approval.ledger != _ledger_of(connection):
        moved.append(f"{plan.target.label} is another database than it was then")
    age = hours_since(approval.made_at, now)
    if age > plan.policy.plan_max_age_hours:
        moved.append(
            f"it is {age:.0f} hours old; the policy allows {plan.policy.plan_max_age_hours:g}"
        )
    _refuse(approval, moved)


def refuse_other_proof(approval: Approval, evidence: Evidence) -> None:
    """Refuse when the rehearsal of now isn't the one that was approved.

    Raises:
        Moved: The schema before or after is another, or a rollback would lose of other tables.
    """
    rehearsed = evidence.rehearsal
    if rehearsed is None:
        raise AssertionError("asked after the rehearsal")
    moved = []
    for when, then, now in (
        ("before", approval.before, _hashes(rehearsed.before)),
        ("after", approval.after, _hashes(rehearsed.after)),
    ):
        difference = Catalog(then).difference(Catalog(now))
        if difference:
            moved.append(f"the schema {when}: {'; '.join(difference.sentences(6))}")
    locked = {table: held["blocks"] for table, held in approval.rehearsal["locks"].items()}
    found = {table: str(held.blocks) for table, held in rehearsed.up.locked.items()}
    moved += _differing("whom it keeps waiting at", locked, found)
    lost = {_lost(one): "" for one in approval.rehearsal["used"]["lost"]}
    loses = {_lost(asdict(one)): "" for one in rehearsed.used.lost}
    moved += _differing("what a rollback takes of", lost, loses)
    _refuse(approval, moved)


def _refuse(approval: Approval, moved: list[str]) -> None:
    if moved:
        raise Moved(
            f"This isn't what was approved ({approval.made_by}, {approval.made_at:%Y-%m-%d %H:%M}"
            f" UTC): {'; '.join(moved)}.",
            state=_UNTOUCHED,
            todo="Rehearse again and have that approved: pymilk rehearse NAME --save FILE",
        )


def _differing(what: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        f"{what} {name} is "
        + ("new" if name not in then else "gone" if name not in now else "another")
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name) or (name in then) != (name in now)
    ]


def _texts(plan: Plan) -> Mapping[str, str]:
    scripts = (*plan.migration.scripts, *plan.project.invariants, *plan.project.state)
    return {
        script.path.relative_to(plan.project.root).as_posix(): script.checksum for script in scripts
    }


def _hashes(catalog: Catalog) -> Mapping[str, str]:
    return {
        name: hashlib.sha256(definition.encode()).hexdigest()[:20]
        for name, definition in catalog.objects.items()
    }


def _lost(one: Mapping[str, Any]) -> str:
    return ".".join((one["table"], *one["columns"]))


def _ledger_of(connection: Connection) -> str:
    row = connection.execute("select to_regclass('pymilk.events') is not null").fetchone()
    if not row or not row[0]:
        return "none"
    first = connection.execute("select token from pymilk.events order by id limit 1").fetchone()
    return str(first[0]) if first else "none"


def _as_json(approval: Approval) -> dict[str, Any]:
    # It holds nothing but JSON. `asdict` would copy the hash of every object of the schema.
    said = {each.name: getattr(approval, each.name) for each in fields(approval)}
    return {**said, "made_at": approval.made_at.isoformat()}
