"""Write the blocks of a migration or a rollback, in an order that works."""

import re
from collections.abc import Mapping

from pymilk.project.quotations import Block, Region, declared


def arrange(
    region: Region, blocks: Mapping[str, Block], there: Mapping[str, str], heading: str
) -> str:
    """The text of a script with these blocks; what stands around them stays.

    Args:
        region: The script as it is.
        blocks: Function → its block.
        there: Function → what it says when the script begins.
        heading: The line that stands over the first block, if there is none yet.
    """
    if not blocks and not region.blocks:
        return region.before
    region = region if region.blocks else _room_for_blocks(region.before, heading)
    betweens = {block.function: between for block, between in region.blocks}
    order = _working_order(_by_file(region, blocks), blocks, there)
    text = region.before
    for name in order:
        between = betweens.get(name, "")
        if not between.strip():
            between = "" if name == order[-1] else "\n"
        text += blocks[name].whole + between
    left = "".join(
        between for name, between in betweens.items() if name not in blocks and between.strip()
    )
    return text + left + region.after


def _room_for_blocks(text: str, heading: str) -> Region:
    """Where the first block goes: under the heading, if it stands there, else at the end."""
    label = re.escape(heading.rstrip("-").rstrip())
    found = re.search(rf"^{label}\b[^\n]*\n\n?", text, re.MULTILINE)
    if not found:
        return Region(f"{text.rstrip()}\n\n{heading}\n\n", (), "")
    rest = text[found.end() :]
    return Region(f"{text[: found.end()].rstrip()}\n\n", (), f"\n{rest}" if rest.strip() else "")


def _by_file(region: Region, blocks: Mapping[str, Block]) -> list[str]:
    """The blocks that are there in their order; each new one where its path belongs."""
    order = [block.function for block, _ in region.blocks if block.function in blocks]
    for name in sorted(set(blocks) - set(order), key=lambda each: blocks[each].path):
        later = (at for at, each in enumerate(order) if blocks[each].path > blocks[name].path)
        order.insert(next(later, len(order)), name)
    return order


def _working_order(
    order: list[str], blocks: Mapping[str, Block], there: Mapping[str, str]
) -> list[str]:
    """That order, but for functions that Postgres can only make or drop after others."""
    after = {name: _needs_first(name, blocks, there) for name in order}
    waiting, done = list(order), list[str]()
    while waiting:
        ready = (name for name in waiting if not after[name] & set(waiting))
        done.append(next(ready, waiting[0]))
        waiting.remove(done[-1])
    return done


def _needs_first(name: str, blocks: Mapping[str, Block], there: Mapping[str, str]) -> set[str]:
    """The functions whose blocks have to come before this one's."""
    made = blocks[name].declaration
    if made is None:  # a drop: those whose bodies hold on to it have to let go before
        return {
            other
            for other, text in there.items()
            if other in blocks and other != name and _holds(text) and _mentions(text, name)
        }
    if not made.bound_early:
        return set()
    return {
        other
        for other, block in blocks.items()
        if other != name and block.declaration and _mentions(blocks[name].text, other)
    }


def _holds(text: str) -> bool:
    made = declared(text)
    return made is not None and made.depends


def _mentions(text: str, name: str) -> bool:
    return re.search(rf"(?<![\w.]){re.escape(name)}\s*\(", text, re.IGNORECASE) is not None
