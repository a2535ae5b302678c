"""Durations as people type them: 90s, 10m, 24h, 2d; and as they read them."""

import re

from pymilk.problem import UsageProblem

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhd])")
_MINUTE, _HOUR = 60, 3600


def seconds_of(text: str, option: str) -> float:
    """A duration, in seconds.

    Args:
        text: What was typed.
        option: Where, for the refusal.

    Raises:
        UsageProblem: It is none, or none that lasts.
    """
    found = _DURATION.fullmatch(text.strip().lower())
    seconds = float(found.group(1)) * _SECONDS[found.group(2)] if found else 0.0
    if not seconds:
        raise UsageProblem(
            f"{option} {text}: that is no duration.",
            state="No database was touched.",
            todo="Write it as 90s, 10m, 24h or 2d.",
        )
    return seconds


def in_words(seconds: float) -> str:
    """A duration for a person."""
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    hours, minutes = divmod(round(seconds / _MINUTE), _MINUTE)
    return f"{hours} h {minutes:02} min"
