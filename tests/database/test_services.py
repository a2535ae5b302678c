"""What a project's files refer to and a plain Postgres lacks: services' tables, extensions."""

from collections.abc import Iterator

import psycopg
import pytest

from pymilk.database.cluster import SUPERUSER
from pymilk.database.connection import Connection, connect
from pymilk.database.embedded import scratch
from pymilk.database.extensions import Extension, make_extensions, read_extensions, supply_of
from pymilk.database.services import PREINSTALLED, stand_in_for_services


@pytest.fixture(scope="module")
def urls() -> Iterator[tuple[str, str]]:
    """A look-alike of our own, as every rehearsal has it: for the owner, for the superuser."""
    with scratch() as server:
        yield server.url(), server.url(user=SUPERUSER)


@pytest.fixture
def owner(urls: tuple[str, str]) -> Iterator[Connection]:
    """The owner, in a transaction that is undone."""
    with (
        connect(urls[0], purpose="test") as connection,
        connection.transaction(force_rollback=True),
    ):
        yield connection


@pytest.fixture
def superuser(urls: tuple[str, str]) -> Iterator[Connection]:
    """The superuser, in a transaction that is undone."""
    with (
        connect(urls[1], purpose="test") as connection,
        connection.transaction(force_rollback=True),
    ):
        yield connection


def only(connection: Connection, query: str) -> object:
    """The one value that a query gives."""
    row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def test_a_new_project_has_its_extensions_and_the_owner_may_drop_them(owner: Connection) -> None:
    assert set(read_extensions(owner)) == set(PREINSTALLED)
    owner.execute('drop extension pgcrypto; drop extension "uuid-ossp"')
    owner.execute('create extension if not exists "uuid-ossp" with schema extensions')
    assert only(owner, "select uuid_generate_v4() is not null") is True


def test_it_can_be_run_again(urls: tuple[str, str], owner: Connection) -> None:
    stand_in_for_services(urls[1])
    assert only(owner, "select count(*) from pg_publication where pubname = 'supabase_realtime'")


def test_what_projects_do_to_the_services_tables(owner: Connection) -> None:
    owner.execute(
        """
        create table public.profiles (id uuid primary key references auth.users on delete cascade);
        create function public.greet() returns trigger language plpgsql security definer
        as $$ begin insert into public.profiles values (new.id); return new; end $$;
        create trigger on_auth_user_created after insert on auth.users
        for each row execute function public.greet();
        insert into storage.buckets (id, name, public) values ('avatars', 'avatars', true);
        create policy "own folder" on storage.objects for insert to authenticated
        with check (auth.uid()::text = (storage.foldername(name))[1]);
        create policy "own topic" on realtime.messages for select to authenticated
        using (realtime.topic() = 'mine');
        alter publication supabase_realtime add table public.profiles;
        insert into auth.users (id, email) values (gen_random_uuid(), 'a@example.org');
        """
    )
    assert only(owner, "select count(*) from public.profiles") == 1


@pytest.mark.parametrize("schema", ["auth", "storage", "realtime", "supabase_functions"])
def test_nothing_is_made_in_the_services_schemas(owner: Connection, schema: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        owner.execute(f"create table {schema}.mine ()")


def test_policies_of_the_project_hold_on_its_files(owner: Connection) -> None:
    owner.execute(
        """
        create policy mine on storage.objects for select to authenticated
        using ((storage.foldername(name))[1] = auth.uid()::text);
        insert into storage.buckets (id, name) values ('b', 'b');
        insert into storage.objects (bucket_id, name) values
        ('b', '00000000-0000-0000-0000-000000000001/a.png'),
        ('b', '00000000-0000-0000-0000-000000000002/deep/b.tar.gz');
        select set_config('request.jwt.claims',
          '{"sub": "00000000-0000-0000-0000-000000000002"}', true);
        """
    )
    owner.execute("set local role authenticated")
    found = owner.execute(
        "select storage.filename(name), storage.extension(name), storage.foldername(name)"
        " from storage.objects"
    ).fetchall()
    assert found == [("b.tar.gz", "gz", ["00000000-0000-0000-0000-000000000002", "deep"])]


@pytest.mark.parametrize(
    ("extension", "query", "expected"),
    [
        # RFC 3174, RFC 4122, RFC 4231, RFC 7519: what others have computed
        (
            "pgcrypto",
            "encode(extensions.digest('abc', 'sha1'), 'hex')",
            "a9993e364706816aba3e25717850c26c9cd0d89d",
        ),
        (
            "pgcrypto",
            "encode(extensions.hmac('what do ya want for nothing?', 'Jefe', 'sha256'), 'hex')",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            "pgcrypto",
            "extensions.crypt('a', h) = h from crypt('a', gen_salt('bf')) as h",
            True,
        ),
        ("pgcrypto", "length(extensions.gen_random_bytes(77))", 77),
        (
            "uuid-ossp",
            "extensions.uuid_generate_v5(extensions.uuid_ns_dns(), 'python.org')::text",
            "886313e1-3b8a-5372-9b90-0c9aee199e5d",
        ),
        (
            "uuid-ossp",
            "extensions.uuid_generate_v3(extensions.uuid_ns_dns(), 'python.org')::text",
            "6fa459ea-ee8a-3ca4-894e-db77e160355e",
        ),
        ("uuid-ossp", "substr(extensions.uuid_generate_v1()::text, 15, 1)", "1"),
        ("pgjwt", "(extensions.verify(extensions.sign('{\"a\": 1}', 'key'), 'key')).valid", True),
        ("pgjwt", "(extensions.verify(extensions.sign('{\"a\": 1}', 'key'), 'lock')).valid", False),
        ("citext", "'Milk'::extensions.citext = 'mILK'::extensions.citext", True),
        ("citext", "max(w) from (values ('b'::extensions.citext), ('C'), ('a')) as v(w)", "C"),
        ("pg_trgm", "extensions.similarity('word', 'two words')::text", "0.36363637"),
        ("unaccent", "extensions.unaccent('Hôtel Æther')", "Hotel AEther"),
        (
            "pg_cron",
            "cron.unschedule('nightly') from cron.schedule('nightly', '0 3 * * *', 'select 1')",
            True,
        ),
        ("pg_net", "net.http_post('https://example.org', '{}')", 1),
        (
            "supabase_vault",
            "count(*) from vault.create_secret('s', 'n'), vault.decrypted_secrets",
            0,
        ),
        ("vector", "'[1,2]'::extensions.vector <-> '[1,5]'", 3.0),
    ],
)
def test_extensions_are_there_for_a_file_that_asks_for_them(
    owner: Connection, extension: str, query: str, expected: object
) -> None:
    if extension != "supabase_vault":
        owner.execute(f'create extension if not exists "{extension}" with schema extensions')
    assert only(owner, f"select {query}") == expected


def test_a_key_of_citext_is_one_whatever_its_case(owner: Connection) -> None:
    owner.execute("create extension citext with schema extensions")
    owner.execute("create table public.people (name citext primary key)")
    owner.execute("insert into public.people values ('Asha')")
    done = owner.execute("insert into public.people values ('ASHA') on conflict do nothing")
    assert done.rowcount == 0


def test_the_column_that_moddatetime_names_is_stamped(owner: Connection) -> None:
    owner.execute(
        """
        create extension moddatetime with schema extensions;
        create table public.notes (id int, body text, changed timestamptz);
        create trigger stamp before update on public.notes
        for each row execute function extensions.moddatetime(changed);
        insert into public.notes values (1, 'a', null);
        update public.notes set body = 'b';
        """
    )
    assert only(owner, "select changed = now() and body = 'b' from public.notes") is True


def test_it_says_what_is_real_what_stands_in_and_what_is_lacking(owner: Connection) -> None:
    supply = supply_of(owner, ["vector", "pg_net", "postgis"])
    assert supply.real == ("vector",)
    assert supply.stood_in == {"pg_net": "requests are recorded, none is sent"}
    assert supply.lacking == ("postgis",)


def test_a_copy_gets_the_extensions_of_what_it_is_a_copy_of(superuser: Connection) -> None:
    wanted = (
        Extension("citext", "public"),
        Extension("pgjwt", "extensions"),
        Extension("pgcrypto", "public"),
        Extension("postgis", "extensions"),
    )
    supply = make_extensions(superuser, wanted)
    assert supply.lacking == ("postgis",)
    # neither a new project's own nor one in another schema is left
    assert set(read_extensions(superuser)) == set(wanted[:3])
