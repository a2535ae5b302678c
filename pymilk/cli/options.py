"""The options that commands share, said once."""

from pathlib import Path
from typing import Annotated

import typer

HERE = Path()

DbUrl = Annotated[
    str | None,
    typer.Option(
        "--db-url",
        envvar="SUPABASE_DB_URL",
        show_envvar=True,
        metavar="URL",
        help="The database; without it, the embedded one of this project.",
    ),
]
ProjectFolder = Annotated[
    Path, typer.Option("--project", metavar="DIR", help="The folder with supabase/ in it.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Yes = Annotated[bool, typer.Option("--yes", help="Don't ask.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--override",
        metavar="CHECK=REASON",
        help="Go on although a check failed; the reason is written into the ledger.",
    ),
]
PolicyName = Annotated[
    str | None,
    typer.Option(
        "--policy",
        metavar="live|local",
        help="Which policy; by default local for the embedded database, live for any other.",
    ),
]
Name = Annotated[
    str | None,
    typer.Argument(metavar="NAME", help="A gap (001), a version, or a migration's name."),
]
CopyOn = Annotated[
    str | None,
    typer.Option(
        "--copy",
        metavar="embedded|container",
        help="On what kind of server to rehearse; a container has the database's own version.",
    ),
]
CopyUrl = Annotated[
    str | None,
    typer.Option(
        "--copy-url",
        envvar="PYMILK_COPY_URL",
        show_envvar=True,
        metavar="URL",
        help="An empty database of yours to rehearse in; it is emptied again afterwards.",
    ),
]
OnBreach = Annotated[
    str | None,
    typer.Option(
        "--on-breach",
        metavar="COMMAND",
        help="Run by the shell when something breaks that held before: on stdin, what.",
    ),
]
All = Annotated[bool, typer.Option("--all", help="Every pending migration, one after the other.")]
