"""What a deploy is going to do, decided before anything is done."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pymilk.database.connection import Target
from pymilk.database.embedded import EmbeddedServer
from pymilk.database.programs import Programs
from pymilk.project.migrations import Migration
from pymilk.project.policy import Policy
from pymilk.project.project import Project, Revision


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
    """

    project: Project
    migration: Migration
    target: Target
    policy: Policy
    programs: Programs
    revision: Revision
    overrides: Mapping[str, str] = field(default_factory=dict)
    run: uuid.UUID = field(default_factory=uuid.uuid4)

    @property
    def backups(self) -> Path:
        """Where this target's backups lie."""
        return self.project.workspace / "backups" / self.target.folder_name


@dataclass(frozen=True)
class Bench:
    """Where proofs are made: a throw-away server of our own, gone when the deploy ends.

    Attributes:
        server: The server; its database `postgres` becomes the restored copy.
    """

    server: EmbeddedServer

    @property
    def owner_url(self) -> str:
        """The copy, as the owner that everything is deployed as."""
        return self.server.url()

    @property
    def superuser_url(self) -> str:
        """The copy, as the superuser that restores it."""
        return self.server.url(user="supabase_admin")
