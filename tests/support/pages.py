"""A report as a reader meets it: its sections by their headings, its text, its tables."""

from dataclasses import dataclass

from bs4 import BeautifulSoup, Tag


@dataclass(frozen=True)
class Page:
    """One page, parsed."""

    soup: BeautifulSoup

    def section(self, heading: str) -> Tag:
        """The section with that heading."""
        found = [one for one in self.soup.find_all("section") if _heading(one) == heading]
        assert len(found) == 1, [_heading(one) for one in self.soup.find_all("section")]
        return found[0]

    def said(self, heading: str) -> str:
        """What that section says, on one line."""
        return text_of(self.section(heading))

    def table(self, heading: str, number: int = 0) -> dict[str, list[str]]:
        """A table of that section: first cell → the others."""
        table = self.section(heading).find_all("table")[number]
        rows = [
            [text_of(cell) for cell in row.find_all(["th", "td"])] for row in table.find_all("tr")
        ]
        return {first: others for first, *others in rows[1:]}

    @property
    def sentence(self) -> str:
        """The verdict."""
        return text_of(self.soup.find_all("p", class_="sentence")[0])

    @property
    def commands(self) -> list[str]:
        """Everything that is to be typed, in order."""
        return [text_of(found) for found in self.soup.find_all("pre")]


def read_page(html: str) -> Page:
    """Parse a page."""
    return Page(BeautifulSoup(html, "html.parser"))


def text_of(tag: Tag) -> str:
    """Its text, on one line."""
    return " ".join(tag.get_text(" ").split())


def _heading(section: Tag) -> str:
    heading = section.find("h2")
    return text_of(heading) if isinstance(heading, Tag) else ""
