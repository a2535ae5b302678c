"""What a deploy is going to do, decided before anything is done."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from pymilk.database.connection import Target
from pymilk.database.programs import Programs
from pymilk.project.migrations import Migration
from pymilk.project.policy import Policy
from pymilk.project.project import Project, Revision


class Backend(StrEnum):
    """What kind of server the copy is made on."""

    EMBEDDED = "embedded"
    CONTAINER = "container"
    URL = "url"


@dataclass(frozen=True)
class CopyAt:
    """Where the copy is made.

    Attributes:
        backend: On what kind of server.
        url: The empty database, where one is named; holds a password, so it is never printed.
    """

    backend: Backend = Backend.EMBEDDED
    url: str = field(default="", repr=False)


@dataclass(frozen=True)
class Plan:
    """One migration, onto one database, under one policy.

    Attributes:
        project: Whose migration it is.
        migration: What is deployed.
        target: Where to.
        policy: When, and with how much patience.
        programs: Postgres's client programs.
        revision: Where the project's files stand in git.
        overrides: Check → the written reason for going on without it.
        run: What everything that this run writes into the ledger has in common.
        copy: Where it is rehearsed.
        because: What a watch saw that makes it roll back, a line each; for the ledger.
    """

    project: Project
    migration: Migration
    target: Target
    policy: Policy
    programs: Programs
    revision: Revision
    overrides: Mapping[str, str] = field(default_factory=dict)
    run: uuid.UUID = field(default_factory=uuid.uuid4)
    copy: CopyAt = CopyAt()
    because: tuple[str, ...] = ()

    @property
    def backups(self) -> Path:
        """Where this target's backups lie."""
        return self.project.workspace / "backups" / self.target.folder_name


@dataclass(frozen=True)
class Bench:
    """Where proofs are made: an empty database with nobody else on it, for the copy.

    Attributes:
        owner_url: The copy, as the owner that everything is deployed as.
        superuser_url: The copy, as who restores it.
        major: The server's major version.
        kind: What it is, in words.
    """

    owner_url: str = field(repr=False)
    superuser_url: str = field(repr=False)
    major: int
    kind: str
