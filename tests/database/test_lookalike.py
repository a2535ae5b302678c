"""What a Supabase look-alike must have in common with a hosted project."""

from support.databases import Database


def test_the_owner_is_no_superuser(empty_database: Database) -> None:
    with empty_database.connect() as session:
        row = session.execute(
            """
            select r.rolsuper, r.rolcreaterole, r.rolcreatedb, r.rolreplication, r.rolbypassrls
            from pg_roles as r
            where r.rolname = current_user
            """
        ).fetchone()
    assert row == (False, True, True, True, True)
