"""A schema with something of every kind in it."""

WORLD = """
create schema shop;
create type shop.mood as enum ('good', 'bad');
create domain shop.money as numeric check (value >= 0);
create type shop.pair as (a int, b int);
create type shop.span as range (subtype = int4);
create sequence shop.numbers;
create table shop.goods (
  id int generated always as identity primary key,
  name text not null default 'none',
  price shop.money,
  mood shop.mood,
  "Odd Name" text,
  twice numeric generated always as (1 + 1) stored,
  serial_no serial,
  constraint cheap check (price < 1000)
);
create table shop.lines (
  goods_id int references shop.goods (id), amount numeric(10, 2), at date
) partition by range (at);
create table shop.lines_2025 partition of shop.lines
for values from ('2025-01-01') to ('2026-01-01');
create table shop.parent (a int);
create table shop.child () inherits (shop.parent);
create index by_name on shop.goods (name);
create statistics shop.correlated on name, price from shop.goods;
create function shop.touch() returns trigger language plpgsql as $$ begin return new; end; $$;
create trigger touch before update on shop.goods for each row execute function shop.touch();
create function shop.answer(p int default 1) returns int language sql stable as 'select 42';
create procedure shop.do_it() language sql as 'select 1';
create aggregate shop.total(numeric) (sfunc = numeric_add, stype = numeric, initcond = '0');
create view shop.cheap as select id, name from shop.goods where price < 10;
create materialized view shop.summary as select count(*) as n from shop.goods;
create rule no_insert as on insert to shop.cheap do instead nothing;
alter table shop.goods enable row level security;
create policy own on shop.goods for select to authenticated using (id > 0);
comment on table shop.goods is 'Goods.';
comment on column shop.goods.name is 'A name.';
comment on function shop.answer(int) is 'The answer.';
grant select on shop.goods to anon;
grant usage on schema shop to anon, authenticated;
create function shop.dearest(p_least numeric) returns text language sql stable
begin atomic
  select g.name from shop.goods as g where g.price > p_least order by g.price desc limit 1;
end;
create policy linked on shop.goods for all to anon
using (exists (select from shop.lines as l where l.goods_id = goods.id and l.at > '2025-01-01'))
with check (name in ('a', 'b') and lower(name) <> all (array['x', 'y']));
create table shop.booked (
  during int4range not null,
  kind text check (kind in ('a', 'b') or kind ~ '^c' or kind is null),
  at timestamptz default now() + interval '1 day',
  goods_id int unique nulls not distinct
    references shop.goods (id) on delete set null deferrable initially deferred,
  exclude using gist (during with &&) where (kind <> 'b')
);
create index odd on shop.booked (
  lower(kind) desc nulls last,
  ((at at time zone 'UTC')::date - date '2025-01-01')
) include (goods_id) where kind like 'a%' or goods_id = any ('{1,2}');
create trigger only_some after update of kind on shop.booked
for each row when (old.kind is distinct from new.kind and new.goods_id > 0)
execute function shop.touch();
create view shop.joined with (security_invoker = true) as
select g.id, b.kind, count(*) filter (where b.kind = 'a') over (partition by g.id) as n
from shop.goods as g left join shop.booked as b on g.id = b.goods_id
where g.name ilike 'n%' and (select max(l.at) from shop.lines as l) > '2025-01-01';
create publication news for table shop.goods;
create operator shop.=== (leftarg = int, rightarg = int, function = int4eq);
create collation shop.german from "C";
"""
