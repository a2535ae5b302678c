-- Stand-in of pymilk for pgmq: queues as tables. What a session sends it can read.

create table pgmq.meta (
  queue_name varchar unique not null,
  is_partitioned boolean not null,
  is_unlogged boolean not null,
  created_at timestamptz not null default now()
);

create type pgmq.message_record as (
  msg_id bigint, read_ct integer, enqueued_at timestamptz, vt timestamptz, message jsonb
);
create type pgmq.queue_record as (
  queue_name varchar, is_partitioned boolean, is_unlogged boolean, created_at timestamptz
);

create function pgmq.create(queue_name text) returns void
language plpgsql
as $$
begin
  if length(queue_name) > 47 then
    raise exception 'queue name is too long, maximum length is 47 characters';
  end if;
  execute format(
    'create table if not exists pgmq.%I (
      msg_id bigint primary key generated always as identity,
      read_ct integer not null default 0,
      enqueued_at timestamptz not null default now(),
      vt timestamptz not null,
      message jsonb
    )',
    'q_' || lower(queue_name)
  );
  execute format(
    'create table if not exists pgmq.%I (
      msg_id bigint primary key,
      read_ct integer not null default 0,
      enqueued_at timestamptz not null default now(),
      archived_at timestamptz not null default now(),
      vt timestamptz not null,
      message jsonb
    )',
    'a_' || lower(queue_name)
  );
  insert into pgmq.meta (queue_name, is_partitioned, is_unlogged)
  values (lower(queue_name), false, false)
  on conflict do nothing;
end;
$$;

create function pgmq.create_non_partitioned(queue_name text) returns void
language sql
as $$ select pgmq.create($1) $$;

create function pgmq.create_unlogged(queue_name text) returns void
language sql
as $$ select pgmq.create($1) $$;

create function pgmq.drop_queue(queue_name text) returns boolean
language plpgsql
as $$
begin
  execute format('drop table if exists pgmq.%I, pgmq.%I',
    'q_' || lower(queue_name), 'a_' || lower(queue_name));
  delete from pgmq.meta as m where m.queue_name = lower(drop_queue.queue_name);
  return found;
end;
$$;

create function pgmq.list_queues() returns setof pgmq.queue_record
language sql
as $$ select m.queue_name, m.is_partitioned, m.is_unlogged, m.created_at from pgmq.meta as m $$;

create function pgmq.send(queue_name text, msg jsonb, delay integer default 0)
returns setof bigint
language plpgsql
as $$
begin
  return query execute format(
    'insert into pgmq.%I (vt, message) values (clock_timestamp() + $2 * interval ''1 s'', $1)
     returning msg_id',
    'q_' || lower(queue_name)
  ) using msg, delay;
end;
$$;

create function pgmq.send_batch(queue_name text, msgs jsonb[], delay integer default 0)
returns setof bigint
language sql
as $$
  select s.id from unnest(msgs) as m(msg) cross join lateral pgmq.send($1, m.msg, $3) as s(id)
$$;

create function pgmq.read(
  queue_name text, vt integer, qty integer, conditional jsonb default '{}'
) returns setof pgmq.message_record
language plpgsql
as $$
begin
  return query execute format(
    'with chosen as (
      select q.msg_id from pgmq.%1$I as q
      where q.vt <= clock_timestamp() and q.message @> $3
      order by q.msg_id limit $1 for update skip locked
    )
    update pgmq.%1$I as q set vt = clock_timestamp() + $2 * interval ''1 s'', read_ct = read_ct + 1
    from chosen as c where q.msg_id = c.msg_id
    returning q.msg_id, q.read_ct, q.enqueued_at, q.vt, q.message',
    'q_' || lower(queue_name)
  ) using qty, vt, conditional;
end;
$$;

create function pgmq.pop(queue_name text) returns setof pgmq.message_record
language plpgsql
as $$
begin
  return query execute format(
    'delete from pgmq.%1$I where msg_id = (
      select q.msg_id from pgmq.%1$I as q where q.vt <= clock_timestamp()
      order by q.msg_id limit 1 for update skip locked
    )
    returning msg_id, read_ct, enqueued_at, vt, message',
    'q_' || lower(queue_name)
  );
end;
$$;

create function pgmq.delete(queue_name text, msg_id bigint) returns boolean
language plpgsql
as $$
declare
  v_found bigint;
begin
  execute format(
    'delete from pgmq.%I where msg_id = $1 returning msg_id', 'q_' || lower(queue_name)
  ) into v_found using msg_id;
  return v_found is not null;
end;
$$;

create function pgmq.delete(queue_name text, msg_ids bigint[]) returns setof bigint
language sql
as $$ select i.id from unnest(msg_ids) as i(id) where pgmq.delete($1, i.id) $$;

create function pgmq.archive(queue_name text, msg_id bigint) returns boolean
language plpgsql
as $$
declare
  v_found bigint;
begin
  execute format(
    'with gone as (
      delete from pgmq.%I where msg_id = $1
      returning msg_id, vt, read_ct, enqueued_at, message
    )
    insert into pgmq.%I (msg_id, vt, read_ct, enqueued_at, message)
    select msg_id, vt, read_ct, enqueued_at, message from gone returning msg_id',
    'q_' || lower(queue_name), 'a_' || lower(queue_name)
  ) into v_found using msg_id;
  return v_found is not null;
end;
$$;

create function pgmq.purge_queue(queue_name text) returns bigint
language plpgsql
as $$
declare
  v_rows bigint;
begin
  execute format('delete from pgmq.%I', 'q_' || lower(queue_name));
  get diagnostics v_rows = row_count;
  return v_rows;
end;
$$;

create function pgmq.set_vt(queue_name text, msg_id bigint, vt integer)
returns setof pgmq.message_record
language plpgsql
as $$
begin
  return query execute format(
    'update pgmq.%I as q set vt = clock_timestamp() + $2 * interval ''1 s'' where q.msg_id = $1
     returning q.msg_id, q.read_ct, q.enqueued_at, q.vt, q.message',
    'q_' || lower(queue_name)
  ) using msg_id, vt;
end;
$$;

grant usage, create on schema pgmq to postgres;
grant all on all tables in schema pgmq to postgres;
