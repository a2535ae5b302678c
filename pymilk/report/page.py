"""The reports themselves: a page that needs nothing but a browser, and a summary in Markdown.

Whatever comes from the ledger, the database or a file is text: the templates escape all of it,
and the page's own policy forbids scripts and requests, should one slip through all the same.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum

from jinja2 import Environment, PackageLoader, StrictUndefined

from pymilk.database.ledger_version import tool
from pymilk.project.project import Project
from pymilk.project.query_header import first_paragraph
from pymilk.report.books import Books
from pymilk.report.course import course_of
from pymilk.report.deployment import Deployment
from pymilk.report.markdown import code, escape
from pymilk.report.safety import waiting_of, way_back_of
from pymilk.report.side_by_side import side_by_side
from pymilk.report.verdict import judge, judge_books
from pymilk.report.watched import tell_watch
from pymilk.report.wording import Wording

# What is told of the rows that break one invariant; `pymilk check` tells more.
_EXAMPLES = 5


class Format(StrEnum):
    """How a report is written."""

    HTML = "html"
    MARKDOWN = "md"


def deployment_page(
    seen: Deployment, project: Project, wording: Wording, written_as: Format
) -> str:
    """The report of one deployment."""
    compared = side_by_side(seen, project, wording)
    return _render(
        "deployment",
        written_as,
        wording,
        {
            "seen": seen,
            "why": _why(seen),
            "edited": _was_edited(seen),
            "verdict": judge(seen, compared, wording),
            "compared": compared,
            "course": course_of(seen, wording),
            "waiting": waiting_of(seen, wording),
            "way_back": way_back_of(seen, wording),
            "watched": tell_watch(seen.samples, wording),
        },
    )


def books_page(books: Books, wording: Wording, written_as: Format) -> str:
    """The report of the books."""
    checked = books.checked
    trouble = [found for found in checked.invariants if found.rows or found.failure]
    content = {
        "books": books,
        "verdict": judge_books(books, wording),
        "trouble": trouble,
        "holding": [found.means for found in checked.invariants if found not in trouble],
        "examples": _EXAMPLES,
    }
    return _render("books", written_as, wording, content)


def _render(name: str, written_as: Format, wording: Wording, content: Mapping[str, object]) -> str:
    template = _ENVIRONMENTS[written_as].get_template(f"{name}.{written_as}.j2")
    return template.render(**content, wording=wording, made_at=datetime.now(UTC), tool=tool())


def _environment(written_as: Format) -> Environment:
    is_html = written_as is Format.HTML
    found = Environment(
        loader=PackageLoader("pymilk.report"),
        # In Markdown it is `finalize` that escapes, as every value is put in.
        autoescape=is_html,  # noqa: S701
        finalize=None if is_html else escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.filters["code"] = code
    return found


_ENVIRONMENTS = {written_as: _environment(written_as) for written_as in Format}


def _why(seen: Deployment) -> str:
    """The first paragraph of the migration's own comment."""
    return first_paragraph(seen.migration.up.text) if seen.migration else ""


def _was_edited(seen: Deployment) -> bool:
    migration, entry = seen.migration, seen.entry
    return migration is not None and entry.checksum not in {None, migration.up.checksum}
