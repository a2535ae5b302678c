"""Every rule there is for a project's files, from their names to what Postgres says of them."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from pymilk.database.embedded import EmbeddedServer, scratch
from pymilk.deploy.survey.lint_server import lint_on_server
from pymilk.project.finding import Looked
from pymilk.project.lint_files import is_ours, lint_names, lint_pairs, lint_scripts
from pymilk.project.lint_functions import lint_functions
from pymilk.project.linters import lint_with_others
from pymilk.project.project import Project


def lint(
    project: Project,
    replayed_on: Callable[[], AbstractContextManager[EmbeddedServer]] = scratch,
) -> Looked:
    """Look at everything; findings in the order of files and lines.

    Args:
        project: Whose files. Our own conventions are asked for where it keeps its functions in
            files, `functions = "…"` under [tool.pymilk].
        replayed_on: The server that the files are replayed on.
    """
    names = Looked(tuple(lint_names(project)))
    if any(finding.rule == "version" for finding in names.found):
        # Which of two files of one version counts, nobody can say; nor what they make together.
        note = "what the files say was not looked at: their versions come first"
        return _sorted(names + Looked(notes=(note,)))
    looked = names + Looked(tuple(lint_scripts(project)))
    if is_ours(project):
        looked += Looked((*lint_pairs(project), *lint_functions(project)))
    looked += lint_with_others(project)
    if not any(finding.rule == "text" for finding in looked.found):
        with replayed_on() as server:
            looked += lint_on_server(server, project)
    return _sorted(looked)


def _sorted(looked: Looked) -> Looked:
    return Looked(tuple(sorted(set(looked.found))), looked.notes)
