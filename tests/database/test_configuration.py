"""What a project has set up in the platform's schemas is compared, and comes with a backup."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pymilk.database.catalog import read_catalog
from pymilk.database.cluster import SUPERUSER
from pymilk.database.connection import connect
from pymilk.database.dump import take_backup
from pymilk.database.embedded import EmbeddedServer, scratch
from pymilk.database.ledger import prepare_ledger
from pymilk.database.manifest import read_backup
from pymilk.database.programs import find_programs
from pymilk.database.recorded_catalog import read_catalog_beside, record_catalogs
from pymilk.database.restore import restore

PROJECT = """
create extension citext with schema public;
create extension pg_cron;
drop extension pg_graphql;
create table public.profiles (
  id uuid primary key references auth.users on delete cascade,
  handle citext unique
);
create function public.greet() returns trigger language plpgsql security definer
as $$ begin insert into public.profiles values (new.id, new.email); return new; end $$;
create trigger on_auth_user_created after insert on auth.users
for each row execute function public.greet();
create trigger on_auth_user_updated after update on auth.users
for each row execute function public.greet();
alter table auth.users disable trigger on_auth_user_updated;
create policy "own files" on storage.objects as restrictive for update to authenticated
using (owner_id = auth.uid()::text) with check (bucket_id = 'avatars');
comment on policy "own files" on storage.objects is 'Nobody else''s.';
alter publication supabase_realtime add table public.profiles;
alter publication supabase_realtime
set (publish = 'insert, delete', publish_via_partition_root = true);
insert into storage.buckets (id, name, public) values ('avatars', 'avatars', true);
select cron.schedule('nightly', '0 3 * * *', 'select 1');
insert into auth.users (id, email)
values ('00000000-0000-0000-0000-000000000001', 'a@example.org');
"""


@pytest.fixture(scope="module")
def live() -> Iterator[EmbeddedServer]:
    """A project that stands on the platform everywhere."""
    with scratch() as server:
        with connect(server.url(), purpose="test") as connection, connection.transaction():
            connection.execute(PROJECT)
        yield server


@pytest.fixture(scope="module")
def copy(live: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its backup; restored, see `restored`."""
    folder = tmp_path_factory.mktemp("backups") / "one"
    take_backup(live.url(), find_programs(), folder)
    return folder


@pytest.fixture(scope="module")
def restored(copy: Path) -> Iterator[EmbeddedServer]:
    """A copy that it was restored into, twice: what the first left must not be in the way."""
    with scratch() as server:
        for _ in range(2):
            restore(read_backup(copy), server.url(user=SUPERUSER), find_programs())
        yield server


def rows(server: EmbeddedServer, query: str) -> list[tuple[object, ...]]:
    """What a query gives, to the superuser: the jobs are the owner's."""
    with connect(server.url(user=SUPERUSER), purpose="test") as connection:
        return connection.execute(query).fetchall()


def test_all_of_the_schema_comes_back_with_what_stands_on_the_services_tables(
    live: EmbeddedServer, restored: EmbeddedServer
) -> None:
    with connect(live.url(), purpose="test") as here, connect(restored.url(), purpose="t") as there:
        mine, theirs = read_catalog(here), read_catalog(there)
    assert 'policy storage.objects "own files"' in mine.objects
    assert "trigger auth.users on_auth_user_created" in mine.objects
    assert not mine.difference(theirs)


@pytest.mark.parametrize(
    "query",
    [
        "select id from auth.users",
        "select id, public from storage.buckets",
        "select jobname, schedule, command, username from cron.job",
        "select id, handle::text from public.profiles",
        "select extname, extnamespace::regnamespace::text from pg_extension order by 1",
        "select pubname, pubowner::regrole::text from pg_publication order by 1",
        "select pubname, pubinsert, pubupdate, pubdelete, pubviaroot from pg_publication",
        "select pubname, pubtruncate from pg_publication",
        "select tgname, tgenabled::text from pg_trigger where tgname like 'on_auth%' order by 1",
    ],
)
def test_the_rows_that_others_rest_on_come_back(
    live: EmbeddedServer, restored: EmbeddedServer, query: str
) -> None:
    assert rows(live, query)
    assert rows(restored, query) == rows(live, query)


def test_what_is_set_up_in_rows_is_compared_like_any_object(live: EmbeddedServer) -> None:
    with connect(live.url(), purpose="test") as connection:
        before = read_catalog(connection)
        with connection.transaction(force_rollback=True):
            prepare_ledger(connection)
            record_catalogs(connection, [before])
            recorded = read_catalog_beside(connection, before)
        with connection.transaction(force_rollback=True):
            connection.execute("update storage.buckets set public = false")
            connection.execute("select cron.unschedule('nightly')")
            connection.execute("insert into storage.buckets (id, name) values ('papers', 'papers')")
            difference = before.difference(read_catalog(connection))
    assert recorded.fingerprint == before.fingerprint
    assert difference.appeared == ("bucket papers",)
    assert difference.vanished == ("job nightly",)
    assert difference.changed == ("bucket avatars",)
