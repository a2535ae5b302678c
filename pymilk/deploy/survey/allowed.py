"""What the policy allows of a moment and of a change; asked before it, and again at it."""

from datetime import datetime, timedelta

from pymilk.deploy.basis.evidence import Check, Rehearsed, Verdict
from pymilk.project.policy import Policy


def window_check(policy: Policy, now: datetime, *, seconds_needed: float) -> Check | str:
    """Whether the deployment window is open, and for long enough."""
    window = policy.window_at(now)
    following = f"{policy.next_window(now):%a %Y-%m-%d %H:%M} {policy.time_zone}"
    if window is None:
        return Check(
            "window", Verdict.FAILED, "outside the deployment window.", f"Next: {following}."
        )
    left = window[1] - now
    if left < timedelta(seconds=seconds_needed):
        return Check(
            "window",
            Verdict.FAILED,
            f"the window closes in {left.total_seconds():.0f} s and {seconds_needed:.0f} s are"
            " needed, as rehearsed.",
            f"Next: {following}.",
        )
    if left > timedelta(days=6):
        return "always open here"
    return f"open until {window[1]:%H:%M} {policy.time_zone}"


def budget_check(policy: Policy, rehearsed: Rehearsed) -> Check | str:
    """Whether the change keeps readers or writers out for no longer than the policy allows."""
    held, allowed = rehearsed.up.strong_lock_seconds * 1000, policy.lock_held_ms
    if held > allowed:
        return Check(
            "budget",
            Verdict.FAILED,
            f"its strong locks would be held for {held:.0f} ms, as rehearsed at the live size;"
            f" the policy allows {allowed}.",
            "Split it: what takes no lock first, what takes one alone and short; or deploy it when"
            " nobody is there.",
        )
    return f"strong locks for {held:.0f} ms, as rehearsed; {allowed} are allowed"
