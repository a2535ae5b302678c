"""What a rollback leaves behind around the schema; and what nobody can tell whether it does."""

from collections.abc import Iterator

from pymilk.database.platform import written_in
from pymilk.database.surroundings import Surroundings, changes, is_as_it_was, told
from pymilk.deploy.change.around import left_on_a_copy, unproven_on_a_copy
from pymilk.deploy.rehearsal.failed import UNCHANGED, RehearsalFailed
from pymilk.project.migrations import Migration
from pymilk.project.statements import Statement, tokens

# What belongs to the whole server, or is a door to another one: no proof looks at it.
_WITH_SETTINGS = frozenset({"role", "user", "database"})
_OF_THE_SERVER = _WITH_SETTINGS | {
    *("group", "server", "foreign", "subscription", "language", "cast", "large"),
}


def not_undone(
    migration: Migration, before: Surroundings, made: Surroundings, left: Surroundings
) -> tuple[str, ...]:
    """What of a migration is not proven to be undone, a line each.

    Args:
        migration: Which one.
        before: What stood around the schema before it, on the copy.
        made: What stood there after it.
        left: What stood there after its rollback.

    Raises:
        RehearsalFailed: The rollback leaves something behind.
    """
    behind = left_on_a_copy(before, made, left)
    if behind:
        raise RehearsalFailed(
            f"The rollback doesn't restore what stands around the schema: {'; '.join(behind)}.",
            state=UNCHANGED,
            todo="Write into the rollback what takes it back.",
        )
    return (*_unseen(migration), *unproven_on_a_copy(before, made, left))


def refuse_other_around(made: Surroundings, again: Surroundings) -> None:
    """Refuse a migration that makes something else the second time.

    Raises:
        RehearsalFailed: It does.
    """
    other = tuple(
        told(name, was, found)
        for name, (was, found) in changes(made, again).items()
        if not is_as_it_was(name, was, found)
    )
    if other:
        raise RehearsalFailed(
            "Deployed a second time, what stands around the schema isn't the same as the first"
            f" time: {'; '.join(other)}.",
            state=UNCHANGED,
            todo="Make the migration's result independent of what was there before.",
        )


def _unseen(migration: Migration) -> Iterator[str]:
    for statement in migration.up.inside:
        # A definition runs nothing of what stands in it.
        written = () if statement.words[:1] == ("create",) else written_in(statement.text)
        if written:
            tables = ", ".join(written)
            yield f"line {statement.line} writes to {tables}, whose rows nobody compares"
        elif _is_of_the_server(statement):
            words = " ".join(statement.words[:4])
            yield f"line {statement.line}, {words} …: what belongs to the server isn't compared"


def _is_of_the_server(statement: Statement) -> bool:
    """Whether nobody compares what it does; settings of roles and of the database are compared."""
    verb, kind, *rest = (*statement.words, "", "")
    if verb in {"grant", "revoke"}:
        # Of a role to a role, not on anything.
        return all(token.text.lower() != "on" for token in tokens(statement.text))
    if verb not in {"create", "alter", "drop"} or kind not in _OF_THE_SERVER:
        return False
    if kind == "foreign":
        return rest[0] != "table"
    return kind not in _WITH_SETTINGS or not {"set", "reset"}.intersection(rest[:6])
