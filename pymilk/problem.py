"""A failure that a user can meet, told so that it can be acted on at 23:00."""


class Problem(Exception):  # noqa: N818 - it is what the user is told, not a kind of crash
    """One expected failure: what happened, what state the database is in, what to do.

    Attributes:
        happened: One sentence of what went wrong.
        state: What was found out about the database's state; proven, never guessed.
        todo: What the user can do next.
        exit_code: The process's exit code: 1 failed, 2 usage, 3 something to do, 75
            try again later.
    """

    exit_code = 1

    def __init__(self, happened: str, *, state: str = "", todo: str = "") -> None:
        super().__init__(happened)
        self.happened = happened
        self.state = state
        self.todo = todo


class UsageProblem(Problem):
    """The command was given something that it cannot work with; nothing was touched."""

    exit_code = 2


class SomethingToDo(Problem):
    """A look has found something that a person has to see to."""

    exit_code = 3


class Refused(Problem):
    """The change would not have been a clean one; it was not made, or taken back whole."""


class TryAgainLater(Problem):
    """Nothing is wrong, but now is not the moment; nothing was changed."""

    exit_code = 75
