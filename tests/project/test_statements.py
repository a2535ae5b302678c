"""The splitter: where a statement ends, which words and lines it has, and that nothing is lost."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymilk.project.statements import split


def texts(sql: str) -> list[str]:
    return [statement.text for statement in split(sql)]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        pytest.param("", [], id="nothing"),
        pytest.param(" \n\t ", [], id="only blanks"),
        pytest.param(";;\n;", [], id="only semicolons"),
        pytest.param(
            "-- a word\n/* and another; */ ", ["-- a word\n/* and another; */"], id="only comments"
        ),
        pytest.param("-- a word\n; select 1", ["-- a word", "select 1"], id="a comment and a ;"),
        pytest.param("select 1; select 2;", ["select 1", "select 2"], id="two"),
        pytest.param("select 1", ["select 1"], id="no semicolon at the end"),
        pytest.param("select ';'; select 2", ["select ';'", "select 2"], id="quotes"),
        pytest.param("select 'it''s;'; select 2", ["select 'it''s;'", "select 2"], id="doubled"),
        pytest.param(r"select '\'; select 2", [r"select '\'", "select 2"], id="plain backslash"),
        pytest.param(
            r"select E'\';'; select 2", [r"select E'\';'", "select 2"], id="escape string"
        ),
        pytest.param(
            r"select e'a''\\'; select 2", [r"select e'a''\\'", "select 2"], id="escape, lower case"
        ),
        pytest.param(
            r"select note'\'; select 2", [r"select note'\'", "select 2"], id="a word before a quote"
        ),
        pytest.param(
            'select ";" from "a"";"; select 2', ['select ";" from "a"";"', "select 2"], id="names"
        ),
        pytest.param("select $$;$$; select 2", ["select $$;$$", "select 2"], id="dollars"),
        pytest.param(
            "do $f$ begin $$;$$; $g$;$g$; end $f$; select 2",
            ["do $f$ begin $$;$$; $g$;$g$; end $f$", "select 2"],
            id="dollars with tags",
        ),
        pytest.param(
            "select $é$;$é$; select 2", ["select $é$;$é$", "select 2"], id="a tag with an accent"
        ),
        pytest.param(
            "execute p($1);select a$b$c; select $1; select 2",
            ["execute p($1)", "select a$b$c", "select $1", "select 2"],
            id="dollars that quote nothing",
        ),
        pytest.param(
            "select 1 -- one;\n; select 2", ["select 1 -- one;", "select 2"], id="line comment"
        ),
        pytest.param(
            "select /* ; /* ; */ ; */ 1; select 2",
            ["select /* ; /* ; */ ; */ 1", "select 2"],
            id="nested block comment",
        ),
        pytest.param(
            "select 1; -- of two\n/* and; */ select 2; -- the end",
            ["select 1", "-- of two\n/* and; */ select 2", "-- the end"],
            id="a comment stays with the statement after it",
        ),
        pytest.param(
            "create rule r as on insert to t do also (select 1; select 2); select 3",
            ["create rule r as on insert to t do also (select 1; select 2)", "select 3"],
            id="parentheses",
        ),
        pytest.param(
            "create function f() returns int begin atomic select 1; select 2; end; select 3",
            ["create function f() returns int begin atomic select 1; select 2; end", "select 3"],
            id="begin atomic",
        ),
        pytest.param(
            "create function f() returns int BEGIN ATOMIC\n"
            "  select case when true then case 1 when 1 then 2 end else 3 end; select 2;\n"
            "END; select 3",
            [
                (
                    "create function f() returns int BEGIN ATOMIC\n"
                    "  select case when true then case 1 when 1 then 2 end else 3 end; select 2;\n"
                    "END"
                ),
                "select 3",
            ],
            id="case … end in begin atomic",
        ),
        pytest.param("begin; select 1; end;", ["begin", "select 1", "end"], id="a transaction"),
        pytest.param("select 'a; select 2", ["select 'a; select 2"], id="an open quote"),
        pytest.param("select E'a\\'; select 2", ["select E'a\\'; select 2"], id="an open E quote"),
        pytest.param('select "a; select 2', ['select "a; select 2'], id="an open name"),
        pytest.param("select $a$; select 2", ["select $a$; select 2"], id="an open dollar quote"),
        pytest.param("select (1; select 2", ["select (1; select 2"], id="an open parenthesis"),
        pytest.param("select 1) ; select 2", ["select 1)", "select 2"], id="one closed too many"),
        pytest.param("select 1; /* select 2;", ["select 1", "/* select 2;"], id="an open comment"),
        pytest.param("select 1;\r\nselect 2;\r\n", ["select 1", "select 2"], id="Windows lines"),
    ],
)
def test_where_a_statement_ends(sql: str, expected: list[str]) -> None:
    assert texts(sql) == expected


# What version 3.1.0 of the Supabase CLI wrote into its history for these files (`db push`).
CLI = {
    "create table a (b int);\n\n-- comment for c\ncreate table c (d int);\n-- the end\n": [
        "create table a (b int)",
        "-- comment for c\ncreate table c (d int)",
        "-- the end",
    ],
    "-- c1\n; select 1;": ["-- c1", "select 1"],
    "select 1; -- x\n; select 2": ["select 1", "-- x", "select 2"],
    "select 1;\t\n -- a\n\n -- b\n": ["select 1", "-- a\n\n -- b"],
    "select 1;\r\n\r\n-- two\r\nselect 2;\r\n": ["select 1", "-- two\r\nselect 2"],
    "-- nothing\n": ["-- nothing"],
    "": [],
    ";;\nselect 1;;": ["select 1"],
    "begin; select 1; commit; select 2;": ["begin", "select 1", "commit", "select 2"],
    "select 'a\\'; select E'\\\\'; select 2;": ["select 'a\\'", "select E'\\\\'", "select 2"],
    "/* block ; /* nested ; */ */\nselect 'it''s;', \"b;\" from (select 1 as \"b;\") as x;": [
        "/* block ; /* nested ; */ */\nselect 'it''s;', \"b;\" from (select 1 as \"b;\") as x"
    ],
    "create rule r as on insert to a do also (select 1; select 2); select 3": [
        "create rule r as on insert to a do also (select 1; select 2)",
        "select 3",
    ],
    "create function g() returns int language sql begin atomic select 1;"
    " select case when true then 1 end; end; select 2": [
        (
            "create function g() returns int language sql begin atomic select 1;"
            " select case when true then 1 end; end"
        ),
        "select 2",
    ],
    "prepare p as select $1::int; execute p(1);": ["prepare p as select $1::int", "execute p(1)"],
}


@pytest.mark.parametrize("sql", CLI)
def test_pieces_are_those_of_the_supabase_cli(sql: str) -> None:
    assert texts(sql) == CLI[sql]


@pytest.mark.parametrize("sql", ["=", "1", "@@", "-", "/", "$1", "1 /* x */"])
def test_what_is_no_comment_is_run_however_odd_it_looks(sql: str) -> None:
    assert [(found.text, found.only_comment) for found in split(sql)] == [(sql, False)]


def test_a_comment_alone_has_nothing_to_run() -> None:
    found = split("-- one\n;\nselect 1;\n\n/* two */\n")
    assert [statement.only_comment for statement in found] == [True, False, True]
    assert [statement.line for statement in found] == [1, 3, 5]


def test_a_statement_knows_its_line_and_its_first_words() -> None:
    found = split(
        "-- one\n\nSelect 1;\n/* two\n lines */ create /* or */ or replace Function f() as $$\n$$;"
    )
    assert [statement.line for statement in found] == [3, 5]
    assert [statement.starts for statement in found] == [1, 4]
    assert found[0].words == ("select",)
    assert found[1].words[:4] == ("create", "or", "replace", "function")


# Text as a mean person would write it: pieces of everything that opens, closes or ends something.
PIECES = st.sampled_from(
    [
        *"';\"()$\\ \n",
        *("--", "/*", "*/", "$$", "$a$", "$b$", "''", "E'", "e'", '""'),
        *("begin atomic", "case", "end", "begin", "select", "x", "é", "1", "$1", "::", "a$b"),
    ]
)


@given(st.lists(PIECES, max_size=40).map(" ".join) | st.lists(PIECES, max_size=40).map("".join))
def test_joining_the_pieces_loses_nothing_but_blanks_and_semicolons(sql: str) -> None:
    pieces = texts(sql)
    assert all(pieces)
    position = 0
    for piece in pieces:
        start = sql.index(piece, position)
        assert set(sql[position:start]) <= {" ", "\n", ";"}
        position = start + len(piece)
    assert set(sql[position:]) <= {" ", "\n", ";"}


@given(st.lists(PIECES, max_size=40).map(" ".join))
def test_a_piece_is_one_statement_by_itself(sql: str) -> None:
    for statement in split(sql):
        assert texts(statement.text) == [statement.text]


LITERALS = st.one_of(
    st.text(max_size=8).map(lambda text: "'" + text.replace("'", "''") + "'"),
    st.text(max_size=8).map(lambda text: '"' + text.replace('"', '""') + '"'),
    st.text(max_size=8).map(
        lambda text: "E'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
    ),
    st.text(alphabet="$; 'a\n", max_size=8).map(
        lambda text: f"$q${text}$q$" if not text.endswith("$") else f"$q${text} $q$"
    ),
    st.text(max_size=8).map(
        lambda text: "/*" + re.sub(r"\*+/|/\*+|\*$|/$", "", text.replace("*", "")) + "*/ 1"
    ),
)


@given(st.lists(LITERALS, min_size=1, max_size=5))
def test_any_literal_keeps_its_semicolons(literals: list[str]) -> None:
    statements = [f"select {literal}" for literal in literals]
    assert texts(";\n".join(statements)) == statements
