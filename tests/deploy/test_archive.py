"""What a rollback takes away comes back with the next deploy, value for value."""

import pytest

from pymilk.database.catalog import read_catalog
from pymilk.database.connection import Connection, connect
from pymilk.deploy.change.archive import CannotBeKept, Loss, find_losses, find_vanishing, keep
from pymilk.deploy.change.give_back import give_back
from support.databases import Database

VERSION = "20250918000000"


def there_and_back(
    database: Database, up: str, use: str, down: str, query: str
) -> tuple[tuple[Loss, ...], list[tuple[object, ...]], list[tuple[object, ...]]]:
    """Up, use, keep, down, up, give back; the losses, and what `query` says before and after."""
    with connect(database.url, purpose="test") as session:
        before = read_catalog(session)
        session.execute(up)
        after = read_catalog(session)
        session.execute(use)
        used = session.execute(query).fetchall()
        with session.transaction():
            losses = find_losses(session, find_vanishing(session, before, after))
            keep(session, VERSION, losses)
            session.execute(down)
        assert not before.difference(read_catalog(session))
        with session.transaction():
            session.execute(up)
            give_back(session, VERSION)
        assert not after.difference(read_catalog(session))
        return losses, used, session.execute(query).fetchall()


def test_values_of_every_kind_come_back(shop: Database) -> None:
    losses, used, back = there_and_back(
        shop,
        """
        create type public.mood as enum ('good', 'bad');
        create domain public.money as numeric check (value >= 0);
        create table public.kinds (
          id bigint generated always as identity primary key, mood public.mood,
          moods public.mood[], price public.money, exact numeric, weight double precision,
          at timestamptz, day date, span interval, raw bytea, doc json, docs jsonb, tags text[],
          flag boolean, code char(5), bits bit(3), uid uuid, net inet, twice numeric
          generated always as (exact * 2) stored, "Odd ""Name" text
        );
        """,
        """
        insert into public.kinds (mood, moods, price, exact, weight, at, day, span, raw, doc, docs,
          tags, flag, code, bits, uid, net, "Odd ""Name")
        values ('bad', '{good,NULL}', 1.50, 1.2300, 0.1, '2025-09-16 12:00:00.123456+05:30',
          '2025-09-16', '1 mon 2 days 03:04:05.6', '\\x00ff27', '{"b": 1,  "a": null}', '{"b": 1}',
          '{"a,b","","NULL",NULL}', false, 'ab', '101', gen_random_uuid(), '10.0.0.0/8', ' x '),
          (null, null, null, 'NaN', 'Infinity', 'infinity', '-infinity', null, '', 'null', 'null',
          '{}', null, '', null, null, null, '');
        """,
        "drop table public.kinds; drop type public.mood; drop domain public.money;",
        "select k::text, k.doc::text, pg_typeof(k.mood) from public.kinds as k order by k.id",
    )
    assert [(loss.kind, loss.rows) for loss in losses] == [("table", 2)]
    assert back == used


def test_columns_of_a_table_that_stays_come_back(shop: Database) -> None:
    losses, used, back = there_and_back(
        shop,
        """
        create type public.mood as enum ('good', 'bad');
        alter table public.customers add column mood public.mood, add column doc json,
        add column level int not null default 1;
        """,
        """
        update public.customers set mood = 'bad', doc = '{"a":  1}' where id = 1;
        update public.customers set level = 7 where id = 3;
        """,
        """
        alter table public.customers drop column mood, drop column doc, drop column level;
        drop type public.mood;
        """,
        "select c::text from public.customers as c order by c.id",
    )
    # Only rows that hold something other than what every new row gets.
    assert [(loss.kind, loss.rows) for loss in losses] == [("column", 2)]
    assert back == used


def test_each_column_comes_back_where_nothing_else_stands_in_it(shop: Database) -> None:
    """What the migration fills by itself is newer; the column beside it is not."""
    _, used, back = there_and_back(
        shop,
        """
        alter table public.customers add column owed numeric not null default 0,
        add column blocked boolean not null default false, add column noted timestamptz not null
        default now(), add column seen date default current_date;
        update public.customers set owed = 5 where id < 3;
        """,
        """
        update public.customers set owed = 7, blocked = true, seen = '2025-01-02' where id = 1;
        update public.customers set owed = 0, noted = '2025-01-01' where id = 2;
        update public.customers set owed = 9, blocked = true where id = 3;
        """,
        "alter table public.customers drop owed, drop blocked, drop noted, drop seen",
        "select id, owed, blocked, noted, seen from public.customers order by id",
    )
    # 7 and 0 were a person's, but the migration says 5 there again; what it fills, it answers for.
    assert [row[1] for row in back] == [5, 5, 9]
    assert [(row[0], *row[2:]) for row in back] == [(row[0], *row[2:]) for row in used]


def test_what_was_kept_last_comes_back_first(shop: Database) -> None:
    with connect(shop.url, purpose="test") as session:
        before = read_catalog(session)
        for word in ("older", "newer"):
            session.execute("create table public.tips (id int primary key, word text)")
            session.execute(f"insert into public.tips values (1, '{word}')")
            with session.transaction():
                losses = find_losses(
                    session, find_vanishing(session, before, read_catalog(session))
                )
                keep(session, VERSION, losses)
                session.execute("drop table public.tips")
        session.execute("create table public.tips (id int primary key, word text)")
        assert give_back(session, VERSION) == {"public.tips": 1}
        assert session.execute("select word from public.tips").fetchall() == [("newer",)]


def test_tables_come_back_in_the_order_of_their_foreign_keys(shop: Database) -> None:
    losses, used, back = there_and_back(
        shop,
        """
        create table public.z_parents (id int primary key, boss int references public.z_parents);
        create table public.a_children (
          id int primary key, parent int not null references public.z_parents (id));
        create table public.b_children (
          id int primary key, parent int not null references public.a_children (id));
        """,
        """
        insert into public.z_parents values (1, null), (2, 1);
        insert into public.a_children values (1, 2); insert into public.b_children values (5, 1);
        """,
        "drop table public.b_children, public.a_children, public.z_parents;",
        "select a.id, a.parent, b.id, z.boss from public.a_children as a join public.b_children"
        " as b on b.parent = a.id join public.z_parents as z on z.id = a.parent",
    )
    assert sum(loss.rows for loss in losses) == 4
    assert back == used


def test_giving_back_is_no_new_business(shop: Database) -> None:
    """Triggers count what happens; what comes back has happened, and was counted then."""
    _, used, back = there_and_back(
        shop,
        """
        create table public.tips (id int primary key, amount numeric);
        alter table public.bills add column tipped numeric;
        create function public.count_tip() returns trigger language plpgsql as $$
        begin update public.bills set paid = paid + new.amount where id = 1; return new; end; $$;
        create function public.count_bill() returns trigger language plpgsql as $$
        begin new.amount = new.amount + 1; return new; end; $$;
        create trigger count_tip after insert on public.tips
        for each row execute function public.count_tip();
        create trigger count_bill before update on public.bills
        for each row execute function public.count_bill();
        alter table public.bills enable always trigger count_bill;
        create trigger off before update on public.bills
        for each row execute function public.count_bill();
        alter table public.bills disable trigger off;
        """,
        "insert into public.tips values (1, 5); update public.bills set tipped = 5 where id = 1",
        """
        drop trigger count_bill on public.bills; drop trigger off on public.bills;
        drop table public.tips; drop function public.count_tip, public.count_bill;
        alter table public.bills drop column tipped;
        """,
        "select (select sum(amount) from public.tips), sum(b.amount), sum(b.paid), sum(b.tipped)"
        " from public.bills as b",
    )
    assert back == used


def test_identities_and_serials_go_on_after_what_came_back(shop: Database) -> None:
    _, used, back = there_and_back(
        shop,
        "create table public.numbered (id int generated always as identity, no serial, a text)",
        "insert into public.numbered (a) values ('x'), ('y'), ('z')",
        "drop table public.numbered",
        "select id, no, a from public.numbered order by id",
    )
    assert back == used
    session = shop.connect(autocommit=True)
    session.execute("insert into public.numbered (a) values ('new')")
    row = session.execute("select id, no from public.numbered where a = 'new'").fetchone()
    assert row == (4, 4)


def test_values_that_could_not_be_given_back_are_not_taken(shop: Database) -> None:
    """Without a primary key nobody can say which row a value belongs to."""
    with connect(shop.url, purpose="test") as session:
        before = read_catalog(session)
        session.execute("alter table public.marks add column score int")
        session.execute("update public.marks set score = 5")
        losses = find_losses(session, find_vanishing(session, before, read_catalog(session)))
        with pytest.raises(CannotBeKept, match=r"public\.marks has no primary key") as refused:
            keep(session, VERSION, losses)
    assert refused.value.todo
    assert refused.value.state


def test_what_nobody_used_is_no_loss(shop: Database) -> None:
    losses, _, _ = there_and_back(
        shop,
        "create table public.empty (id int); alter table public.marks add column a int default 3,"
        " add column b text, add column c json",
        "insert into public.marks (word) values ('new')",
        "drop table public.empty; alter table public.marks drop column a, drop column b,"
        " drop column c",
        "select count(*) from public.marks",
    )
    assert losses == ()


def test_long_names_do_not_collide(shop: Database) -> None:
    one, two = "a" * 60 + "one", "a" * 60 + "two"
    losses, used, back = there_and_back(
        shop,
        f"create table public.{one} (id int); create table public.{two} (id int)",
        f"insert into public.{one} values (1); insert into public.{two} values (2)",
        f"drop table public.{one}, public.{two}",
        f"select * from public.{one}, public.{two}",
    )
    assert len(losses) == 2
    assert back == used == [(1, 2)]


def archived(session: Connection) -> list[tuple[object, ...]]:
    return session.execute(
        "select table_name, row_count, given_back_at is not null from pymilk.archives order by id"
    ).fetchall()


def test_the_archive_remembers_what_was_given_back(shop: Database) -> None:
    there_and_back(
        shop,
        "create table public.tips (id int primary key)",
        "insert into public.tips values (1)",
        "drop table public.tips",
        "select 1",
    )
    session = shop.connect(autocommit=True)
    assert archived(session) == [("tips", 1, True)]
    assert give_back(session, VERSION) == {}
    assert session.execute("select count(*) from public.tips").fetchone() == (1,)
