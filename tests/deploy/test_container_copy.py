"""`--copy container`: a copy of the database's own version, with what Supabase adds to Postgres."""

from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest

from pymilk.database import container
from pymilk.database.container import ContainerServer
from pymilk.deploy.basis.plan import Backend, CopyAt
from pymilk.deploy.pipeline import rehearse
from pymilk.problem import Problem
from support.projects import Silent, Toy, mark_baseline

pytestmark = pytest.mark.long

MAJOR = 17
# Real in the image: pgcrypto. Stood in for: vault, cron. Of the services: auth, storage, realtime.
OTHERS = """
create extension if not exists pgcrypto with schema extensions;
create extension pg_cron;
create table public.profiles (
  id uuid primary key references auth.users (id),
  pin text default extensions.crypt('1234', extensions.gen_salt('bf', 4))
);
insert into public.profiles (id) select u.id from auth.users as u;
create function public.welcome() returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$ begin insert into public.profiles (id) values (new.id); return new; end; $$;
create trigger welcome after insert on auth.users
for each row execute function public.welcome();
insert into storage.buckets (id, name) values ('bills', 'bills');
create policy "Own files" on storage.objects for select to authenticated
using (bucket_id = 'bills' and (storage.foldername(name))[1] = auth.uid()::text);
alter publication supabase_realtime add table public.bills;
select vault.create_secret('s', 'key of the till');
select cron.schedule('nightly', '0 3 * * *', 'select 1');
"""


@pytest.fixture
def live() -> Iterator[ContainerServer]:
    """A live database of a version that the embedded server hasn't got."""
    try:
        image = container.find_image(MAJOR)
    except Problem as problem:
        pytest.skip(f"{problem.happened} {problem.todo}")
    with container.scratch(MAJOR, image=image) as server:
        yield server


def test_rehearsed_in_a_container_of_the_databases_own_version(
    live: ContainerServer, toy: Toy
) -> None:
    mark_baseline(live.url(), toy)
    with psycopg.connect(live.url(user="supabase_admin"), autocommit=True) as superuser:
        superuser.execute("insert into auth.users (id) values (gen_random_uuid())")
    with psycopg.connect(live.url(), autocommit=True) as owner:
        owner.execute(OTHERS)
    toy.up(
        'create policy "Bills of one\'s own" on storage.objects for delete to authenticated'
        " using (owner_id = (select auth.uid()::text));\n"
        "alter table public.profiles add column token uuid default extensions.gen_random_uuid();"
    )
    toy.down(
        'drop policy "Bills of one\'s own" on storage.objects;'
        "alter table public.profiles drop column token;"
    )
    toy.verify("select cron.schedule('once', '0 4 * * *', 'select 2');")
    plan = replace(
        toy.plan(live.url(), overrides={"drift": "made by hand"}), copy=CopyAt(Backend.CONTAINER)
    )
    found = rehearse(plan, Silent())
    assert found.rehearsal is not None
    assert (found.rehearsal.where, found.rehearsal.major) == ("a container", MAJOR)
    assert found.restore_test is not None
    assert {"supabase_vault", "pg_cron"} <= found.restore_test.stood_in.keys()
    assert "pgcrypto" not in found.restore_test.stood_in
    assert found.rehearsal.up.statements[1].rewrites == ("public.profiles",)
