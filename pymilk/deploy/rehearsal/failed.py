"""What a rehearsal says when something did not hold."""

from pymilk.problem import Problem

UNCHANGED = "Nothing was changed in the target: this was the copy."


class RehearsalFailed(Problem):
    """The rehearsal found what would have gone wrong on the live database."""
