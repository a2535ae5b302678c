-- Functions that do what the dairy's own never would, for the errors that a client can meet.

create sequence public.trips;

-- Fails with a code the first p_times, whatever is rolled back.
create function public.trip(p_code text, p_times integer) returns bigint language plpgsql as $$
declare
  v_time bigint := nextval('public.trips');
begin
  if v_time <= p_times then
    raise exception using errcode = p_code, message = 'tripped';
  end if;
  return v_time;
end $$;

create function public.echo(p_amount numeric) returns numeric language sql as 'select p_amount';

create function public.echo_all(
  p_texts text[], p_document jsonb, p_moment timestamptz, p_day date, p_flag boolean, p_ratio float8,
  out texts text[], out document jsonb, out moment timestamptz, out day date, out flag boolean,
  out ratio float8
) language sql as 'select p_texts, p_document, p_moment, p_day, p_flag, p_ratio';

create function public.brew() returns void language plpgsql as $$
begin
  raise exception using errcode = 'PT418', message = 'is_a_teapot',
    detail = '{"litres": 0.50}', hint = 'Ask for milk.';
end $$;

create function public.shout() returns void language plpgsql as $$
begin
  raise exception 'Not enough milk' using hint = 'Wait for the morning.';
end $$;

create function public.halve() returns integer language sql as 'select 1 / 0';

create function public.half() returns integer language plpgsql as $$
begin
  return public.other_half();
end $$;

create function public.twins(a integer) returns integer language sql as 'select 1';
create function public.twins(a integer, b integer default 1) returns integer language sql
as 'select 2';

create function public.soon() returns text language sql as $$ select 'soon' $$;

create function public.many_digits() returns numeric language sql as 'select trunc(10::numeric ^ 5000)';

create function public.caller() returns text language sql as 'select private.caller()';
alter function public.caller() owner to postgres;
alter function public.caller() security definer;

create function public.header(p_name text) returns text language sql
as $$ select current_setting('request.headers', true)::json ->> p_name $$;

create function public.write_a_route(p_name text) returns integer language sql security definer
as $$ insert into public.routes (name) values (p_name); select count(*)::integer from public.routes $$;

create function public.only_reads(p_name text) returns integer language sql stable
as $$ select public.write_a_route(p_name) $$;

grant usage on sequence public.trips to anon, authenticated, service_role;
grant execute on all functions in schema public to service_role;
grant execute on function public.caller(), public.header(text) to authenticated;
revoke execute on all functions in schema public from anon, public;
