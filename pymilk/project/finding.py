"""What a look at files found."""

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        file: Where, from the project's folder.
        line: Its line, from 1.
        rule: What the rule is called.
        found: What is wrong and what to do, in a sentence.
    """

    file: str
    line: int
    rule: str
    found: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.rule}: {self.found}"


@dataclass(frozen=True)
class Looked:
    """What one look found.

    Attributes:
        found: What is wrong.
        notes: What could not be looked at, and why.
    """

    found: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()

    def __add__(self, other: "Looked") -> "Looked":
        return Looked((*self.found, *other.found), (*self.notes, *other.notes))
