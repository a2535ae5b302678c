"""The pages in a real browser: on a telephone and a desk, in light and dark, and on paper."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright
from playwright.sync_api import Page as Tab

from pymilk.database.connection import Target, connect
from pymilk.database.ledger import Kind, latest, read_entries
from pymilk.deploy.basis.notes import add_note
from pymilk.deploy.health.samples import record_sample
from pymilk.project.policy import Preset
from pymilk.project.project import Project, load_project
from pymilk.report.books import read_books
from pymilk.report.deployment import read_deployment
from pymilk.report.page import Format, books_page, deployment_page
from pymilk.report.wording import Wording
from support.databases import ROOT, Database
from support.reported import HISTORY, an_hour_of
from support.tools import chromium, left_out, tool

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(chromium() is None, reason="left out: no Chromium; apt install chromium"),
    pytest.mark.skipif(tool("axe-core") is None, reason=left_out("axe-core")),
]

HOSTILE = "<script>document.title = 'taken'</script><img src='http://127.0.0.1:9/x'> & \"it\""
# Of a script that has run, of a request that was blocked: whatever a page had to say.
_TAKEN = "taken"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # As root, in a container, its own sandbox can't be had; the pages are ours.
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"]) as running,
    ):
        yield running


@dataclass(frozen=True)
class Screen:
    """What a page is looked at on."""

    width: int
    height: int
    dark: bool

    @property
    def options(self) -> dict[str, Any]:
        """As Playwright has it."""
        return {
            "viewport": {"width": self.width, "height": self.height},
            "color_scheme": "dark" if self.dark else "light",
        }


SCREENS = {
    f"{name} {'dark' if dark else 'light'}": Screen(width, height, dark)
    for name, width, height in (("phone", 360, 740), ("desk", 1200, 900))
    for dark in (False, True)
}
DESK = SCREENS["desk light"]


_CUT_OFF = """
svg => {
  const whole = svg.getBoundingClientRect();
  return [...svg.querySelectorAll('text')]
    .filter(text => {
      const box = text.getBoundingClientRect();
      return box.left < whole.left - 1 || box.right > whole.right + 1
        || box.top < whole.top - 1 || box.bottom > whole.bottom + 1;
    })
    .map(text => text.textContent);
}
"""


@dataclass
class Opened:
    """A page that is open, and what it has said and asked for."""

    tab: Tab
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def written(
    shop: Database, project: Project, wording: Wording, dairy_hardened: Database, tmp_path: Path
) -> Path:
    """Both pages, with something of everything in them, in one folder."""
    target = Target(shop.url, Preset.LOCAL)
    deploy = latest(read_entries(shop.connect()), Kind.DEPLOY)
    assert deploy is not None
    assert deploy.run is not None
    with connect(shop.url, purpose="test") as connection:
        for sample in an_hour_of(deploy):
            record_sample(connection, sample, deploy.id, deploy.run)
    add_note(target, HOSTILE)
    seen = read_deployment(target, project, None, None)
    folder = tmp_path / "pages"
    folder.mkdir()
    page = deployment_page(seen, project, wording, Format.HTML)
    (folder / "deployment.html").write_text(page, encoding="utf-8")
    session = dairy_hardened.connect(user="supabase_admin", autocommit=True)
    session.execute(HISTORY)
    session.execute("update public.customers set billing_name = %s", (HOSTILE,))
    books = read_books(Target(dairy_hardened.url, Preset.LOCAL), load_project(ROOT), wording)
    (folder / "books.html").write_text(books_page(books, wording, Format.HTML), encoding="utf-8")
    return folder


def opened(browser: Browser, path: Path, screen: Screen) -> Opened:
    tab = browser.new_page(**screen.options)
    found = Opened(tab)
    tab.on("console", lambda message: found.said.append(message.text))
    tab.on("pageerror", lambda error: found.said.append(str(error)))
    tab.on("request", lambda request: found.asked.append(request.url))
    tab.goto(path.as_uri())
    return found


def trouble(path: Path, browser: Browser, screen: Screen) -> list[str]:
    """What axe-core finds, by its rules for WCAG and its own best practices."""
    axe = tool("axe-core")
    assert axe is not None
    # The page forbids scripts, this one too.
    with browser.new_context(**screen.options, bypass_csp=True) as context:
        tab = context.new_page()
        tab.goto(path.as_uri())
        tab.add_script_tag(path=axe)
        found = tab.evaluate("() => axe.run()")
    assert len(found["passes"]) > 15
    return [
        f"{rule['id']}: {node['html']} {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize("screen", SCREENS.values(), ids=SCREENS)
@pytest.mark.parametrize("name", ["deployment", "books"])
def test_a_page_is_whole_silent_and_readable(
    name: str, screen: Screen, written: Path, browser: Browser
) -> None:
    path = written / f"{name}.html"
    page = opened(browser, path, screen)
    assert page.asked == [path.as_uri()]
    assert page.said == []
    assert page.tab.title() != _TAKEN
    # Nothing is wider than the screen but what scrolls by itself.
    assert page.tab.evaluate("document.documentElement.scrollWidth") <= screen.width
    charts = page.tab.locator("svg").all()
    assert len(charts) > 2
    for chart in charts:
        box = chart.bounding_box()
        assert box is not None
        assert 200 < box["width"] <= screen.width
        assert box["height"] > 50
        # Nothing of it is cut off: names of series, days.
        assert chart.evaluate(_CUT_OFF) == []
    ground = page.tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(22, 21, 20)") is screen.dark
    picture = path.with_suffix(".png")
    page.tab.screenshot(path=picture, full_page=True)
    assert picture.stat().st_size > 20_000
    page.tab.close()
    assert trouble(path, browser, screen) == []


def test_a_screen_reader_is_told_what_the_page_is(written: Path, browser: Browser) -> None:
    tab = opened(browser, written / "deployment.html", DESK).tab
    assert tab.get_by_role("heading", level=1).inner_text() == "GAP-001"
    assert tab.get_by_role("region", name="In one sentence").count() == 1
    for name in ("Broken rules", "Refused or failed", "Waiting for locks"):
        assert tab.get_by_role("img", name=name).count() == 1
    first = tab.locator("main section").first.inner_text()
    assert first.split()[:6] == ["In", "one", "sentence", "Have", "a", "look."]
    assert HOSTILE in tab.get_by_role("region", name="What people said").inner_text()


def test_on_paper_it_is_black_on_white(written: Path, browser: Browser, tmp_path: Path) -> None:
    tab = opened(browser, written / "deployment.html", SCREENS["desk dark"]).tab
    tab.emulate_media(media="print", color_scheme="dark")
    colours = tab.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    assert colours == ["rgb(255, 255, 255)", "rgb(0, 0, 0)"]
    paper = tmp_path / "page.pdf"
    tab.pdf(path=paper, format="A4")
    assert paper.read_bytes().startswith(b"%PDF")


def test_a_script_that_slips_through_all_the_same_does_not_run(
    written: Path, browser: Browser
) -> None:
    """Were the escaping gone, the page's own policy would still hold."""
    path = written / "deployment.html"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("</main>", f"{HOSTILE}</main>"), encoding="utf-8")
    page = opened(browser, path, DESK)
    assert page.tab.title() != _TAKEN
    assert page.said  # the browser tells that it has refused
