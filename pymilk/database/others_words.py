"""What statements of others say, as far as it must be known before a superuser says it for them.

Recognised is a statement that is this and nothing else; what looks different in any piece isn't.
"""

from dataclasses import dataclass

from pymilk.project.statements import Statement, Token, tokens

_ROLE_WORDS = {("create", "role"), ("create", "user"), ("alter", "role"), ("alter", "user")}
_IN_NO_SCHEMA = frozenset({"publication", "schema"})
_IN_A_SCHEMA = frozenset({"domain", "sequence", "table", "type", "view"})
_WITH_ARGUMENTS = frozenset({"aggregate", "function", "procedure"})


@dataclass(frozen=True)
class Given:
    """What `alter … owner to` gives to whom.

    Attributes:
        schema: Of the object; empty of what is in none.
        name: Of the object.
        owner: Who gets it.
    """

    schema: str
    name: str
    owner: str


@dataclass(frozen=True)
class SchemaFor:
    """A `create schema … authorization`.

    Attributes:
        owner: For whom it is.
        without_owner: The statement without that.
    """

    owner: str
    without_owner: str


def as_no_superuser(statement: Statement) -> str:
    """A statement as whoever is no superuser may say it, to the same end."""
    text, pieces = statement.text, _pieces(statement)
    said = [_said(piece) for piece in pieces]
    match said:
        # pg_dump's way to grant as somebody else.
        case ["set", "session", "authorization", "default"] | ["reset", "session", *_]:
            return "reset role"
        case ["set", "session", "authorization", _]:
            return f"set role {pieces[-1].text}"
        case ["grant" | "revoke", *rest] if "on" not in rest and rest[-3:-1] == ["granted", "by"]:
            return _without(text, pieces[-3:])
    if tuple(said[:2]) in _ROLE_WORDS:
        return _without(text, [p for p in pieces if _said(p) in {"superuser", "nosuperuser"}])
    return text


def given_in(statement: Statement) -> Given | None:
    """What it gives to whom, where it does only that."""
    match _words(statement):
        case [
            "alter",
            "materialized" | "foreign",
            "view" | "table" as kind,
            *of,
            "owner",
            "to",
            to,
        ]:
            return _given(kind, of, to)
        case ["alter", kind, *of, "owner", "to", to]:
            return _given(kind, of, to)
    return None


def role_spoken_of(statement: Statement) -> str | None:
    """The role that is altered, whose default privileges are, or who is to be acted as."""
    match _words(statement):
        case ["alter", "role" | "user", role, *_]:
            return _name(role)
        case ["alter", "default", "privileges", "for", "role" | "user", role, *_]:
            return _name(role)
        case ["set", "session", "authorization", role]:
            return _name(role)
    return None


def role_made_in(statement: Statement) -> str | None:
    """The role that a bare `create role` makes."""
    match _words(statement):
        case ["create", "role" | "user", role]:
            return _name(role)
    return None


def schema_made_in(statement: Statement) -> SchemaFor | None:
    """Of `create schema … authorization`, for whom it is."""
    match _words(statement):
        case ["create", "schema", _, *_, "authorization", role] if owner := _name(role):
            return SchemaFor(owner, _without(statement.text, _pieces(statement)[-2:]))
    return None


def is_about_event_triggers(statement: Statement) -> bool:
    """Whether a superuser has to say it."""
    match _words(statement):
        case ["create" | "alter" | "drop", "event", "trigger", *_]:
            return True
        case ["comment", "on", "event", "trigger", *_]:
            return True
    return False


def _given(kind: str, of: list[str], to: str) -> Given | None:
    names: list[str | None]
    match of:
        case [name] if kind in _IN_NO_SCHEMA:
            names = ["", _name(name), _name(to)]
        case [schema, ".", name] if kind in _IN_A_SCHEMA:
            names = [_name(schema), _name(name), _name(to)]
        case [schema, ".", name, "(", *more] if kind in _WITH_ARGUMENTS and _closes(more):
            names = [_name(schema), _name(name), _name(to)]
        case _:
            return None
    known = [name for name in names if name is not None]
    return Given(*known) if len(known) == len(names) else None


def _closes(pieces: list[str]) -> bool:
    """Whether a parenthesis that was opened before closes with the last piece, and not earlier."""
    depth = 1
    for place, piece in enumerate(pieces, start=1):
        depth += {"(": 1, ")": -1}.get(piece, 0)
        if depth == 0:
            return place == len(pieces)
    return False


def _pieces(statement: Statement) -> list[Token]:
    return [token for token in tokens(statement.text) if not token.is_comment]


def _words(statement: Statement) -> list[str]:
    return [_said(piece) for piece in _pieces(statement)]


def _said(piece: Token) -> str:
    return piece.text.lower() if piece.kind == "word" else piece.text


def _name(said: str) -> str | None:
    """The name that a piece is, in quotes or without; none where it is something else."""
    if said.startswith('"'):
        return said[1:-1].replace('""', '"')
    return said if said[:1].isalpha() or said.startswith("_") else None


def _without(text: str, pieces: list[Token]) -> str:
    for piece in reversed(pieces):
        text = text[: piece.start] + text[piece.end :]
    return text
