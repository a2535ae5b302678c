"""From what was typed to what is worked on: project, database, migration, plan.

The embedded server and the checks are loaded where they are needed: most often a command finds a
database that is named, and nothing to do.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pymilk.database.connection import Target, target_at
from pymilk.database.programs import find_programs
from pymilk.deploy.basis.plan import Backend, CopyAt, Plan
from pymilk.deploy.survey.status import Row, Standing, read_rows
from pymilk.problem import Problem, UsageProblem
from pymilk.project.migrations import Migration, about_misnamed, find_migration
from pymilk.project.policy import Preset
from pymilk.project.project import Project, Revision, load_project, revision

if TYPE_CHECKING:
    from pymilk.database.embedded import EmbeddedServer

# An embedded server's URL as long as there is none: backups are found by it, nobody connects.
_NOWHERE = "postgresql:///postgres?host=/nowhere"


@dataclass(frozen=True)
class Opened:
    """A project and the database that a command works on."""

    project: Project
    target: Target

    @cached_property
    def revision(self) -> Revision:
        """Where the project's files stand in git; asked once, for all that is to be deployed."""
        return revision(self.project)

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """Where every migration stood when this was first asked: what is chosen from."""
        return read_rows(self.target.url, self.project)


def embedded_server(project: Project) -> "EmbeddedServer":
    """The project's embedded server, started or not."""
    from pymilk.database.embedded import EmbeddedServer

    return EmbeddedServer(project.workspace / "embedded")


def start_embedded(project: Project) -> "EmbeddedServer":
    """The project's embedded server, running and with something in it."""
    from pymilk.demo.first_day import prepare_first_day

    project.make_workspace()
    server = embedded_server(project)
    server.start()
    prepare_first_day(server.url(), project)
    return server


def open_project(folder: Path, db_url: str | None, policy: str | None) -> Opened:
    """Find the project and its database; the embedded one is started when no other is named."""
    project = load_project(folder)
    if db_url:
        return Opened(project, target_at(db_url, _preset(policy) or Preset.LIVE))
    if db_url == "" or os.environ.get("SUPABASE_DB_URL") == "":
        raise UsageProblem(
            "SUPABASE_DB_URL is set, and empty: a secret that is missing, perhaps.",
            state="No database was touched.",
            todo="Give it a value; or unset it, to work on the embedded database.",
        )
    server = start_embedded(project)
    return Opened(project, target_at(server.url(), _preset(policy) or Preset.LOCAL))


def files_of(folder: Path, db_url: str | None, policy: str | None) -> tuple[Project, Target]:
    """The project and the database whose backups are meant; nothing is connected to or started.

    After a loss there is nothing to connect to.
    """
    project = load_project(folder)
    if db_url:
        return project, target_at(db_url, _preset(policy) or Preset.LIVE)
    try:
        url = embedded_server(project).url()
    except Problem:  # there is none yet, or none any more
        url = _NOWHERE
    return project, Target(url, _preset(policy) or Preset.LOCAL)


def parse_overrides(given: Iterable[str] | None) -> dict[str, str]:
    """`CHECK=REASON` pairs."""
    overrides = dict(_pair(text) for text in given or ())
    if overrides:
        from pymilk.deploy.survey.preflight import refuse_unknown_overrides

        refuse_unknown_overrides(overrides)
    return overrides


def copy_at(project: Project, backend: str | None, url: str | None) -> CopyAt:
    """Where to rehearse: as asked for, or as the project's pyproject.toml says.

    Raises:
        UsageProblem: There is no such kind of server.
    """
    if url:
        return CopyAt(Backend.URL, target_at(url, Preset.LOCAL).url)
    asked = backend or str(project.settings.get("copy", Backend.EMBEDDED))
    if asked not in {Backend.EMBEDDED, Backend.CONTAINER}:
        raise UsageProblem(
            f"A copy can't be made on '{asked}'.",
            state="No database was touched.",
            todo="It is 'embedded' or 'container'; for a database of your own: --copy-url.",
        )
    return CopyAt(Backend(asked))


def plan_for(
    opened: Opened, migration: Migration, overrides: dict[str, str], copy: CopyAt | None = None
) -> Plan:
    """Everything a pipeline run needs to know beforehand."""
    return Plan(
        project=opened.project,
        migration=migration,
        target=opened.target,
        policy=opened.project.policy(opened.target.preset),
        programs=find_programs(),
        revision=opened.revision,
        overrides=overrides,
        copy=copy or CopyAt(),
    )


def migration_to_deploy(opened: Opened, name: str | None) -> Migration | None:
    """The one named, or the oldest that isn't whole; a held one only when it is named."""
    if name is not None:
        return find_migration(opened.project.migrations, name)
    return next(iter(migrations_to_deploy(opened, None)), None)


def migrations_to_deploy(opened: Opened, name: str | None) -> tuple[Migration, ...]:
    """The one named, or all that are pending or half applied, oldest first."""
    if name is not None:
        return (find_migration(opened.project.migrations, name),)
    standing = {Standing.PENDING, Standing.HALF}
    pending = {row.version for row in opened.rows if row.standing in standing}
    return tuple(one for one in opened.project.migrations if one.version in pending)


def plan_on_backup(folder: Path, name: str | None, copy: CopyAt) -> Plan:
    """What is rehearsed on a backup alone; which one comes next there, only its copy knows.

    Raises:
        UsageProblem: None was named.
    """
    project = load_project(folder)
    if name is None:
        raise UsageProblem(
            "On a backup, the migration has to be named.",
            state="No database was touched.",
            todo="pymilk rehearse NAME --backup FOLDER",
        )
    opened = Opened(project, Target("", Preset.LOCAL))
    return plan_for(opened, find_migration(project.migrations, name), {}, copy)


def refuse_together(given: Mapping[str, object]) -> None:
    """Refuse options of which only one can be meant.

    Raises:
        UsageProblem: More than one is there.
    """
    named = [option for option, value in given.items() if value]
    if len(named) > 1:
        raise UsageProblem(
            f"{' and '.join(named)} don't go together.",
            state="No database was touched.",
            todo="Leave one of them out.",
        )


def nothing_pending(opened: Opened) -> str:
    """The sentence for when there is nothing to do; what is held is named, it could be meant."""
    held = [
        find_migration(opened.project.migrations, row.version)
        for row in opened.rows
        if row.standing is Standing.HELD
    ]
    misnamed = opened.project.misnamed
    told = f"Nothing is pending. {about_misnamed(misnamed)}" if misnamed else "Nothing is pending."
    return told + "".join(
        f" {migration.label} is held, since it was rolled back; to deploy it again, name it:"
        f" pymilk deploy {migration.argument}"
        for migration in held
    )


def migration_to_roll_back(opened: Opened, name: str | None) -> Migration:
    """The one named, or the newest applied; of one that is half applied the rollback says why."""
    if name is not None:
        return find_migration(opened.project.migrations, name)
    standing = {Standing.APPLIED, Standing.EDITED, Standing.HALF}
    applied = [row for row in opened.rows if row.standing in standing]
    if not applied:
        raise Problem("Nothing is applied.", state="Nothing was changed.", todo="pymilk status")
    return find_migration(opened.project.migrations, applied[-1].version)


def _pair(text: str) -> tuple[str, str]:
    name, equals, reason = text.partition("=")
    if not equals:
        raise UsageProblem(
            f"'{text}' is no override.",
            state="No database was touched.",
            todo="Write it as --override CHECK='your reason'.",
        )
    return name.strip(), reason.strip().strip("'\"")


def _preset(name: str | None) -> Preset | None:
    if name is None:
        return None
    try:
        return Preset(name)
    except ValueError as error:
        raise UsageProblem(
            f"There is no policy '{name}'.",
            state="No database was touched.",
            todo="It is 'live' or 'local'.",
        ) from error
