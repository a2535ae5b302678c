"""Text as Markdown that shows it as it is, whatever is in it."""

import re

from markupsafe import Markup

_MEANT_BY_MARKDOWN = re.compile(r"([\\`*_{}\[\]|~#])")
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
# After an @, a name would be told of the page; an invisible character between them keeps it text.
_WORD_JOINER = "\N{WORD JOINER}"


def escape(value: object) -> object:
    """A value of a template as it goes into the text; on one line, as a table needs it."""
    if isinstance(value, Markup):
        return value
    text = " ".join(str(value).split()) if isinstance(value, str) else str(value)
    for character, entity in _HTML.items():
        text = text.replace(character, entity)
    return _MEANT_BY_MARKDOWN.sub(r"\\\1", text).replace("@", f"@{_WORD_JOINER}")


def code(text: str) -> Markup:
    """A command as code; a backtick in it would end that, and no command of ours has one."""
    return Markup(f"`{text.replace('`', '')}`")  # noqa: S704 - nothing in code is Markdown
