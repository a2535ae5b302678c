"""What a deploy put there by itself is no loss when it goes again, unless somebody touched it."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from pymilk.deploy.basis.plan import CopyAt
from pymilk.deploy.change.rollback import roll_back
from pymilk.problem import Refused
from support.databases import Database
from support.projects import Toy, copy_of, deploy_toy, schema_and_rows, write_toy

UP = """
create table public.prices (id integer primary key, price integer);
insert into public.prices values (1, 10), (2, 20);
insert into public.notes values (10, 'prices are kept now');
update public.notes set body = 'was empty' where id = 2;
alter table public.customers add column letters integer not null default 0;
update public.customers set letters = length(name);
"""
DOWN = """
update public.notes set body = '' where id = 2;
delete from public.notes where id = 10;
drop table public.prices;
alter table public.customers drop column letters;
"""


@pytest.fixture(scope="module")
def seeded_once(
    toy_adopted: Database, set_aside: CopyAt, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    """Deployed: for the tests to copy."""
    toy = replace(write_toy(tmp_path_factory.mktemp("seeded")), copy=set_aside)
    toy.gap(UP, DOWN)
    with copy_of(toy_adopted) as database:
        before = schema_and_rows(database)
        deploy_toy(toy.plan(database))
        assert schema_and_rows(database) != before
        yield database


@pytest.fixture
def shop(seeded_once: Database) -> Iterator[Database]:
    """The toy's database with the gap deployed."""
    with copy_of(seeded_once) as database:
        yield database


@pytest.fixture
def seeded(toy: Toy) -> Toy:
    """Its project."""
    toy.gap(UP, DOWN)
    return toy


def test_untouched_it_goes_without_a_word(shop: Database, seeded: Toy) -> None:
    result = roll_back(seeded.plan(shop), archive=False)
    assert result.kept == ()
    notes = shop.connect().execute("select id, body from public.notes order by id").fetchall()
    assert notes == [(1, "first"), (2, ""), (3, None)]


@pytest.mark.parametrize(
    ("use", "told"),
    [
        ("insert into public.prices values (3, 30)", "table public.prices: 3 row(s)"),
        ("update public.prices set price = 11 where id = 1", "table public.prices: 2 row(s)"),
        ("update public.notes set body = 'mine' where id = 10", "changed in public.notes: 2"),
        ("update public.customers set letters = 9 where id = 1", "customers.letters: 3 row(s)"),
    ],
)
def test_touched_since_it_is_listed(shop: Database, seeded: Toy, use: str, told: str) -> None:
    shop.connect(autocommit=True).execute(use.encode())
    with pytest.raises(Refused) as refusal:
        roll_back(seeded.plan(shop), archive=False)
    assert told in refusal.value.happened


@pytest.mark.long
def test_what_was_given_back_is_peoples(shop: Database, seeded: Toy) -> None:
    shop.connect(autocommit=True).execute("insert into public.prices values (3, 30)")
    roll_back(seeded.plan(shop), archive=True)
    deploy_toy(seeded.plan(shop))
    with pytest.raises(Refused, match=r"table public\.prices: 3"):
        roll_back(seeded.plan(shop), archive=False)


def test_a_script_that_was_not_rehearsed_is_believed_nothing(shop: Database, seeded: Toy) -> None:
    seeded.down(DOWN)
    with pytest.raises(Refused, match="Rows would be lost"):
        roll_back(seeded.plan(shop), archive=False, mended=True)
