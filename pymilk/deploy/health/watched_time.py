"""Spans of time: when a deploy was watched, when a complaint was open, and what is left of both."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from pymilk.deploy.health.samples import Moment

Span = tuple[datetime, datetime]


def watched_spans(
    moments: Sequence[Moment], since: datetime | None, gap: timedelta
) -> tuple[Span, ...]:
    """The time between looks that lie close enough together.

    What is broken stays broken until it is mended: two looks that find nothing vouch for what lies
    between them, unless that is long. The deploy has looked as well when it ended.

    Args:
        moments: The samples, oldest first.
        since: When the deploy ended, if there was one.
        gap: How far two looks may lie apart.
    """
    looks = [*([since] if since else []), *(moment.taken_at for moment in moments)]
    return tuple((begins, ends) for begins, ends in pairwise(looks) if ends - begins <= gap)


def broken_spans(
    moments: Sequence[Moment], since: datetime | None, now: datetime
) -> tuple[Span, ...]:
    """The time around samples that found something broken: from one good look to the next."""
    return tuple(_broken_spans(moments, since, now))


def _broken_spans(
    moments: Sequence[Moment], since: datetime | None, now: datetime
) -> Iterator[Span]:
    good, broken = since, None
    for moment in moments:
        if moment.breach:
            broken = broken or good or moment.taken_at
        else:
            if broken is not None:
                yield broken, moment.taken_at
            good, broken = moment.taken_at, None
    if broken is not None:
        yield broken, now


def together(spans: Iterable[Span]) -> timedelta:
    """How long spans last together, where they overlap counted once."""
    return sum((ends - begins for begins, ends in _merged(spans)), timedelta())


def less(spans: Iterable[Span], others: Iterable[Span]) -> timedelta:
    """How long spans last together, without what others cover of them."""
    spans, others = list(spans), list(others)
    return together([*spans, *others]) - together(others)


def _merged(spans: Iterable[Span]) -> Iterator[Span]:
    current: Span | None = None
    for begins, ends in sorted(spans):
        if ends <= begins:
            continue
        if current is None or begins > current[1]:
            if current is not None:
                yield current
            current = (begins, ends)
        else:
            current = (current[0], max(current[1], ends))
    if current is not None:
        yield current
