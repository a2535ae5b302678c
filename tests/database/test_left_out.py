"""What a backup does not hold is said, with counts where they can be had."""

from pymilk.database.connection import connect
from pymilk.database.left_out import read_left_out
from support.databases import Database


def told(database: Database) -> str:
    with connect(database.url, purpose="test") as connection:
        return "\n".join(read_left_out(connection))


def test_what_is_never_in_it_is_named_on_a_bare_project(empty_database: Database) -> None:
    text = told(empty_database)
    assert "Files in Storage: " in text
    assert "The platform's schemas: auth, extensions, graphql_public." in text
    assert "Large objects" not in text


def test_users_files_and_large_objects_are_counted(empty_database: Database) -> None:
    superuser = empty_database.connect(user="supabase_admin", autocommit=True)
    superuser.execute(
        "create table auth.users (id int); insert into auth.users values (1), (2);"
        "grant select on auth.users to postgres;"
        "create schema storage; create table storage.objects (id int);"
        "insert into storage.objects values (1);"
        "grant usage on schema storage to postgres; grant select on storage.objects to postgres;"
    )
    empty_database.connect(autocommit=True).execute("select lo_from_bytea(0, 'x')")
    text = told(empty_database)
    assert "(2 accounts)" in text
    assert "(1 file)" in text
    assert "Large objects: 1." in text


def test_what_may_not_be_counted_is_named_all_the_same(empty_database: Database) -> None:
    superuser = empty_database.connect(user="supabase_admin", autocommit=True)
    superuser.execute("create table auth.users (id int); revoke all on auth.users from postgres")
    assert "auth" in told(empty_database)
