"""The options that commands share, said once."""

from pathlib import Path

import click

name = click.argument(
    "name",
    required=False,
    help="A gap (001), a version, or a migration's name.",
)
backup = click.argument(
    "backup",
    required=False,
    help="A folder of 'pymilk backup', or its name; or a file of the dashboard, pg_dump or"
    " pg_dumpall. Without it, the newest of the database.",
)
every = click.option(
    "--all", "every", is_flag=True, help="Every pending migration, one after the other."
)
db_url = click.option(
    "--db-url",
    envvar="SUPABASE_DB_URL",
    show_envvar=True,
    metavar="URL",
    help="The database; without it, the embedded one of this project.",
)
project = click.option(
    "--project",
    metavar="DIR",
    type=click.Path(path_type=Path),
    default=Path(),
    help="The folder with supabase/ in it.",
)
policy = click.option(
    "--policy",
    metavar="live|local",
    help="Which policy; by default local for the embedded database, live for any other.",
)
override = click.option(
    "--override",
    metavar="CHECK=REASON",
    multiple=True,
    help="Go on although a check failed; the reason is written into the ledger.",
)
copy = click.option(
    "--copy",
    metavar="embedded|container",
    help="On what kind of server to rehearse; a container has the database's own version.",
)
copy_url = click.option(
    "--copy-url",
    envvar="PYMILK_COPY_URL",
    show_envvar=True,
    metavar="URL",
    help="An empty database of yours to rehearse in; it is emptied again afterwards.",
)
on_breach = click.option(
    "--on-breach",
    metavar="COMMAND",
    help="Run by the shell when something breaks that held before: on stdin, what.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
yes = click.option("--yes", is_flag=True, help="Don't ask.")
