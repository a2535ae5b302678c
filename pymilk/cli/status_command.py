"""`pymilk status`: where every migration stands."""

from pymilk.cli.options import HERE, AsJson, DbUrl, PolicyName, ProjectFolder
from pymilk.cli.render import say, say_json, status_text


def status(
    db_url: DbUrl = None,
    project: ProjectFolder = HERE,
    policy: PolicyName = None,
    as_json: AsJson = False,
) -> None:
    """Show what is applied, pending, edited or held, and what runs right now.

    Example: pymilk status --json
    """
    from pymilk.cli.opening import open_project
    from pymilk.deploy.survey.status import read_status

    opened = open_project(project, db_url, policy)
    found = read_status(opened.target.url, opened.project)
    if as_json:
        say_json({"database": opened.target.label, "status": found})
    else:
        say(*status_text(opened.target.label, found))
