"""What a rollback has to put back: the schema, and the extensions, settings and such around it."""

from collections.abc import Iterator, Mapping

from pymilk.database.catalog import Catalog
from pymilk.database.surroundings import (
    OF_THE_SERVER,
    Change,
    Surroundings,
    changes,
    is_as_it_was,
    told,
)
from pymilk.problem import Refused


def refuse_other_schema(expected: Catalog, restored: Catalog) -> None:
    """Refuse a rollback that doesn't restore the schema.

    Raises:
        Refused: It is such a one.
    """
    difference = expected.difference(restored)
    if difference:
        name = min(difference.names)
        raise Refused(
            "The script doesn't restore the schema recorded before the deploy: "
            + "; ".join(difference.sentences())
            + f"\n{expected.text_difference(restored, name)}",
            todo="Mend the rollback script; then: pymilk rollback … --mended.",
        )


def refuse_left_behind(
    recorded: Mapping[str, Change] | None, before: Surroundings, after: Surroundings
) -> None:
    """Refuse a rollback that doesn't put back what the deploy changed, or changes something else.

    What others have changed since stays as it is: whoever manages the server does so at any time,
    and the way back must not wait for that.

    Args:
        recorded: What the deploy changed; none where an older pymilk deployed it: nothing is known.
        before: What there was just before the script.
        after: What there is now.

    Raises:
        Refused: It is such a one.
    """
    if recorded is None:
        return
    left = tuple(_not_put_back(recorded, before, after))
    if left:
        raise Refused(
            f"The script doesn't restore what stands around the schema: {'; '.join(left)}.",
            todo="Mend the rollback script; then: pymilk rollback … --mended.",
        )


def _not_put_back(
    recorded: Mapping[str, Change], before: Surroundings, after: Surroundings
) -> Iterator[str]:
    for name in sorted({*recorded, *before, *after}):
        old, made = recorded.get(name, (before.get(name), before.get(name)))
        now, found = before.get(name), after.get(name)
        # Changed by others since: what they made of it may stay, too.
        if now != made and found == now:
            continue
        if not is_as_it_was(name, old, found):
            yield told(name, old, found)


def left_on_a_copy(before: Surroundings, made: Surroundings, left: Surroundings) -> tuple[str, ...]:
    """What a migration changed on the copy, and its rollback didn't put back there.

    Args:
        before: What there was before the migration.
        made: What there was after it.
        left: What there is after its rollback.
    """
    return tuple(
        told(name, was, found)
        for name, (was, found) in changes(before, left).items()
        if not is_as_it_was(name, was, found)
        and not (name.startswith(OF_THE_SERVER) and found != made.get(name))
    )


def unproven_on_a_copy(
    before: Surroundings, made: Surroundings, left: Surroundings
) -> tuple[str, ...]:
    """Settings that a rollback sets to what a copy doesn't have: perhaps the live database's."""
    return tuple(
        f"{told(name, was, found)} on the copy, whose settings are its server's"
        for name, (was, found) in changes(before, left).items()
        if name.startswith(OF_THE_SERVER) and found != made.get(name)
    )
