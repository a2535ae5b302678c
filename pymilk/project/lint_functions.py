"""Our rules for the functions that hold a project's business, from their files alone.

What each rule is for stands in CONTRIBUTING.md; Postgres and plpgsql_check look at what the
statements mean, this looks at how they are said.
"""

import re
from collections.abc import Iterator, Sequence

from pymilk.problem import UsageProblem
from pymilk.project.finding import Finding
from pymilk.project.function_files import FunctionFile, read_function_files
from pymilk.project.functions import makes_function
from pymilk.project.project import Project
from pymilk.project.snapshot_check import check_quotations
from pymilk.project.statements import Token, split, tokens

_HEADER = ("returns", "language", "volatility", "security", "set", "as")
_CLAUSES = {
    **{word: word for word in ("returns", "language", "security", "set", "as")},
    **dict.fromkeys(("volatile", "stable", "immutable"), "volatility"),
}
_PASSES_AS_TRY_AGAIN = frozenset(
    {"'40001'", "'40P01'", "'55P03'", "serialization_failure", "deadlock_detected"}
)
# After these, `update` and `delete` begin a statement.
_BEFORE_A_STATEMENT = frozenset(
    {";", "(", "begin", "then", "else", "loop", "as", "query", "execute"}
)


def lint_functions(project: Project) -> Iterator[Finding]:
    """Every rule, on every function file."""
    try:
        files = read_function_files(project)
    except UsageProblem as problem:
        yield Finding(project.functions, 1, "function-file", problem.happened.rstrip("."))
        return
    for found in check_quotations(project):
        todo = "pymilk snapshot NAME" if found.kind == "waits" else "put it right"
        yield Finding(found.file, 1, f"quotation-{found.kind}", f"{found.found}: {todo}")
    for file in files.values():
        yield from _lint_file(file)


def _lint_file(file: FunctionFile) -> Iterator[Finding]:
    statement = next(each for each in split(file.text) if makes_function(each))
    offset = file.text.index(statement.text)
    pieces = [each for each in tokens(statement.text) if not each.is_comment]

    def at(position: int, rule: str, found: str) -> Finding:
        return Finding(file.path, file.text.count("\n", 0, offset + position) + 1, rule, found)

    if not file.text.startswith("--"):
        yield Finding(
            file.path, 1, "purpose", "begin with a comment: what it is for, what it locks"
        )
    if not any(each.words[:1] == ("revoke",) for each in split(file.text)):
        yield at(
            pieces[0].start, "grants", "revoke it from public, then grant it to whom it is for"
        )
    start = next((n for n, each in enumerate(pieces) if each.text == "("), 0)
    header = list(_clauses(pieces[start:]))
    order = [_HEADER.index(clause) for clause, _ in header]
    if order != sorted(order):
        yield at(
            pieces[0].start,
            "header",
            "the order is returns, language, volatility, security, settings, body",
        )
    text = statement.text
    if "search_path" not in {pieces[n].text.lower() for n in range(1, len(pieces))}:
        yield at(pieces[0].start, "search-path", "set search_path = pg_catalog, pg_temp")
    for match in re.finditer(r"^ *security definer *(--.*)?$", text, re.MULTILINE | re.IGNORECASE):
        if not match[1]:
            yield at(match.start(), "definer", "say on its line why: security definer -- because …")
    for body in pieces:
        if body.kind == "dollar":
            inside = body.text[body.text.index("$", 1) + 1 :]
            shift = body.start + len(body.text) - len(inside)
            yield from (at(shift + place, rule, found) for place, rule, found in _body(inside))


def _clauses(pieces: Sequence[Token]) -> Iterator[tuple[str, int]]:
    """The clauses between the arguments and the body, in their order."""
    depth = 0
    for each in pieces:
        depth += {"(": 1, ")": -1}.get(each.text, 0)
        if each.kind == "dollar":
            return
        if depth == 0 and each.kind == "word" and each.text.lower() in _CLAUSES:
            yield _CLAUSES[each.text.lower()], each.start


def _body(body: str) -> Iterator[tuple[int, str, str]]:
    """Findings of one body: position, rule, sentence."""
    pieces = [each for each in tokens(body) if not each.is_comment]
    words = [each.text.lower() for each in pieces]
    explained = re.search(r"-- dynamic: *\S", body) is not None
    for n, (each, word) in enumerate(zip(pieces, words, strict=True)):
        following = words[n + 1 : n + 4]
        if word == "when" and following[:1] == ["others"]:
            yield (
                each.start,
                "when-others",
                "it eats deadlocks and bugs alike; name what you expect",
            )
        if word == "execute" and not explained:
            yield each.start, "dynamic-sql", "say it as it is, or why not: -- dynamic: because …"
        if word == "raise" and following[:1] == ["exception"] and following[1:2] != ["using"]:
            yield each.start, "bare-raise", "raise exception using errcode, message, detail, hint"
        if word == "errcode" and any(
            pieces[n + k].text in _PASSES_AS_TRY_AGAIN for k in (1, 2)[: len(pieces) - n - 1]
        ):
            yield each.start, "try-again", "PostgREST repeats it without end; a conflict is PT409"
        if _changes(words, n) and not _has_where(words[n:]):
            yield each.start, "where", f"{word} without where: the API refuses it (safeupdate)"


def _changes(words: Sequence[str], n: int) -> bool:
    """Whether an update or delete of a table begins here."""
    if words[n] not in {"update", "delete"} or (n and words[n - 1] not in _BEFORE_A_STATEMENT):
        return False
    return words[n] == "update" or words[n + 1 : n + 2] == ["from"]


def _has_where(words: Sequence[str]) -> bool:
    depth = 0
    for word in words:
        depth += {"(": 1, ")": -1}.get(word, 0)
        if depth < 0 or (depth == 0 and word == ";"):
            return False
        if depth == 0 and word == "where":
            return True
    return False
