-- A schema that nobody wrote for the generator: what people do with functions.

create schema shop;
create schema shop_private;

create type shop.mood as enum ('happy', 'it''s complicated', 'sad "really"');
create domain shop.email as text check (value ~ '@');
create domain shop.size as text check (value in ('S', 'M', 'L')) not null;
create domain shop.share as numeric(5, 4) check (value between 0 and 1);
create domain shop.tags as text[];
create domain shop.settings as jsonb;
create type shop.address as (street text, "class" text, zip integer, lines text[]);
create type shop.parcel as (weight numeric, destination shop.address, "from" date, feelings shop.mood[]);
create type shop.span as range (subtype = numeric);

create table shop.orders (
  id uuid primary key default gen_random_uuid(),
  status text not null check (status in ('new', 'paid', 'shipped')),
  kind varchar(10) check (kind = any (array['retail', 'wholesale'])),
  total numeric(12, 2) not null,
  date date not null,
  placed_at timestamptz not null default now(),
  note text,
  destination shop.address
);

-- 1-12: each plain type, there and back
create function shop.f_bool(p_value boolean) returns boolean language sql as 'select p_value';
create function shop.f_int(p_value integer) returns integer language sql as 'select p_value';
create function shop.f_small(p_value smallint) returns smallint language sql as 'select p_value';
create function shop.f_big(p_value bigint) returns bigint language sql as 'select p_value';
create function shop.f_float(p_value double precision) returns real language sql as 'select p_value';
create function shop.f_numeric(p_value numeric) returns numeric language sql as 'select p_value';
create function shop.f_bytes(p_value bytea) returns bytea language sql as 'select p_value';
create function shop.f_date(p_value date) returns date language sql as 'select p_value';
create function shop.f_time(p_value time) returns time language sql as 'select p_value';
create function shop.f_stamp(p_value timestamp) returns timestamp language sql as 'select p_value';
create function shop.f_moment(p_value timestamptz) returns timestamptz language sql
as 'select p_value';
create function shop.f_interval(p_value interval) returns interval language sql as 'select p_value';

-- 13-20: types of their own
create function shop.f_mood(p_value shop.mood) returns shop.mood language sql as 'select p_value';
create function shop.f_email(p_value shop.email) returns shop.email language sql
as 'select p_value';
create function shop.f_size(p_value shop.size) returns shop.size language sql as 'select p_value';
create function shop.f_share(p_value shop.share) returns shop.share language sql
as 'select p_value';
create function shop.f_tags(p_value shop.tags) returns shop.tags language sql as 'select p_value';
create function shop.f_settings(p_value shop.settings) returns shop.settings language sql
as 'select p_value';
create function shop.f_span(p_value shop.span) returns shop.span language sql as 'select p_value';
create function shop.f_inet(p_value inet) returns inet language sql as 'select p_value';

-- 21-27: arrays and composites
create function shop.f_ints(p_value integer[]) returns integer[] language sql as 'select p_value';
create function shop.f_moods(p_value shop.mood[]) returns shop.mood[] language sql
as 'select p_value';
create function shop.f_floats(p_value float8[]) returns float8[] language sql as 'select p_value';
create function shop.f_address(p_value shop.address) returns shop.address language sql
as 'select p_value';
create function shop.f_addresses(p_value shop.address[]) returns setof shop.address language sql
as 'select * from unnest(p_value)';
create function shop.f_parcel(p_value shop.parcel) returns shop.parcel language sql
as 'select p_value';
create function shop.f_variadic(variadic p_values integer[]) returns bigint language sql
as 'select sum(each) from unnest(p_values) as each';

-- 28-34: results
create function shop.nothing() returns void language sql as '';
create function shop.some_values() returns setof integer language sql as 'values (1), (null), (3)';
create function shop.some_rows(p_number integer, out a integer, out "Two Words" text)
returns setof record language sql as $$ select n, 'x' from generate_series(1, p_number) as n $$;
create function shop.one_column(out only_one integer) language sql as 'select 1';
create function shop.table_of_one() returns table (a integer) language sql as 'values (1), (2)';
create function shop.orders_like(p_like shop.orders) returns setof shop.orders language sql
as 'select p_like.*';
create function shop.find_order(p_id uuid) returns shop.orders language sql
as 'select * from shop.orders as o where o.id = p_id';

-- 35-42: names
create function shop."class"(p_from integer, "p_import" integer, p_class integer) returns integer
language sql as 'select p_from + p_import + p_class';
create function shop."Two Words"("First Word" text) returns text language sql as 'select "First Word"';
create function shop.list(p_list integer, list integer) returns integer language sql
as 'select p_list - list';
create function shop."Call"(p_given integer, p_argument text, p_reading integer, p_p_x integer)
returns integer language sql as 'select p_given';
create function shop.unnamed(integer, text) returns integer language sql as 'select $1';
create function shop.half_named(p_a integer, text) returns integer language sql as 'select $1';
create function shop.quoting(p_text text) returns text language sql as 'select p_text';
comment on function shop.quoting(text) is
'A comment with "quotes", a back\slash, """ three """ and a line that is so long that nobody would keep it in one, not even on a wide screen.

p_text: with "quotes" too, and a back\slash';
create function shop.inout_of(inout p_a integer, inout b text) language sql
as $$ select p_a + 1, b || '!' $$;

-- 43-48: defaults
create function shop.defaults(
  p_a integer default 7, p_b text default 'it''s', p_c numeric default -1.50, p_d boolean default true,
  p_e shop.mood default 'happy', p_f uuid default null, p_g timestamptz default now(),
  p_h jsonb default '{"a": 1}', p_i integer[] default '{}', p_j date default '2025-01-01'
) returns text language sql as $$ select concat_ws('|', p_a, p_b, p_c, p_d, p_e, p_f, p_h, p_i, p_j) $$;
create function shop.only_default(p_flag boolean default false) returns boolean language sql
as 'select p_flag';

-- overloads, and what isn't called as a function
create function shop.total(p_a integer) returns integer language sql as 'select p_a';
create function shop.total(p_a text) returns integer language sql as 'select 1';
create procedure shop.tidy(p_days integer) language sql as '';
create aggregate shop.product(numeric) (sfunc = numeric_mul, stype = numeric, initcond = '1');
create function shop.on_change() returns trigger language plpgsql as 'begin return new; end';
create function shop.on_ddl() returns event_trigger language plpgsql as 'begin null; end';
create function shop.whatever(p_value anyelement) returns anyelement language sql as 'select p_value';
create function shop.some_record() returns record language sql as 'select 1, 2';
create function shop.records() returns setof record language sql as 'select 1, 2';
create function shop.about_cursor(p_cursor refcursor) returns refcursor language sql
as 'select p_cursor';

-- refusals, its own and those of what it calls
create function shop_private.check_stock(p_number integer) returns void language plpgsql as $$
begin
  if p_number > 10 then
    raise exception using
      errcode = 'PT409', message = 'out_of_stock', hint = 'Order fewer than eleven.';
  elsif p_number < 0 then
    raise sqlstate 'PT422' using message = 'number_negative';
  end if;
  -- raise exception using errcode = 'PT400', message = 'never_said';
end $$;
create function shop.order_some(p_number integer) returns integer language plpgsql as $$
begin
  if p_number is null then
    raise exception 'number_required' using errcode = 'PT400';
  end if;
  perform current_setting('pymilk.idempotency_key', true);
  perform shop_private.check_stock(p_number);
  return p_number;
end $$;

-- declared in the comment
create function shop.quote_parcel(p_items jsonb, p_speed text, out price numeric, out steps jsonb, out status text)
language sql as $$ select 9.90, '[{"at": "2025-01-01", "by": null}]'::jsonb, 'paid' $$;
comment on function shop.quote_parcel(jsonb, text) is
'What a parcel costs.

p_items [{"sku": text, "count": integer, "gift"?: boolean, "class"?: text}]: what is in it
p_speed "slow" | "fast": how
steps [{"at": date, "by": text | null}]: where it goes
status orders.status
never null: price, steps';
create function shop.misdeclared(p_items jsonb) returns integer language sql as 'select 1';
comment on function shop.misdeclared(jsonb) is
'Its declaration is no good.

p_items [{"sku": text';
