"""What newer servers note on their columns is no part of the schema, and is not restored."""

from pymilk.database.stamps import without_stamps

TEXT = """\
CREATE TABLE public.t (
    a integer
);
ALTER TABLE ONLY public.t ALTER COLUMN a SET (pg_attver=22119528);
ALTER TABLE ONLY public.t ALTER COLUMN "b c" SET (pg_attver=22119528, n_distinct=5);
ALTER TABLE ONLY public.t ALTER COLUMN c SET (n_distinct=5);
ALTER FOREIGN TABLE ONLY public.f ALTER COLUMN a SET (pg_attver='7');
COMMENT ON TABLE public.t IS 'pg_attver=5 is no stamp here';
"""


def test_stamps_go_and_everything_else_stays() -> None:
    assert without_stamps(TEXT).splitlines() == [
        "CREATE TABLE public.t (",
        "    a integer",
        ");",
        'ALTER TABLE ONLY public.t ALTER COLUMN "b c" SET (n_distinct=5);',
        "ALTER TABLE ONLY public.t ALTER COLUMN c SET (n_distinct=5);",
        "COMMENT ON TABLE public.t IS 'pg_attver=5 is no stamp here';",
    ]
