-- The third version of the ledger: what a watch saw, sample by sample, and the breaches among it.
-- Samples have a table of their own: there is one a minute, and who asks what was done to a database
-- reads events, which stay few.
create table pymilk.samples (
  id bigint generated always as identity primary key,
  deploy bigint references pymilk.events (id),
  taken_at timestamptz not null,
  breach boolean not null,
  watch uuid not null,
  person text not null,
  database_role text not null default current_user,
  client_address inet default pg_catalog.inet_client_addr(),
  tool text not null,
  facts jsonb not null
);
comment on table pymilk.samples is
  'What pymilk watch saw, at one moment each. Append-only. Soak time is the time between them.';
comment on column pymilk.samples.deploy is
  'The deploy that was the newest live one; none where pymilk has deployed nothing.';
comment on column pymilk.samples.taken_at is
  'The moment of the snapshot in which the invariants were read, by the server''s clock.';
comment on column pymilk.samples.breach is
  'Whether something was broken that held before the deploy, at each look of this sample.';
comment on column pymilk.samples.watch is 'The samples of one run of the tool have it in common.';
comment on column pymilk.samples.facts is
  'Invariants, what clients report, the server''s counters, lock waits, times of daily statements.';
create index samples_by_deploy on pymilk.samples (deploy, id);

create trigger append_only before update or delete on pymilk.samples
for each row execute function pymilk.refuse_change();
create trigger append_only_whole before truncate on pymilk.samples
for each statement execute function pymilk.refuse_change();

alter table pymilk.events drop constraint events_kind_check;
alter table pymilk.events add constraint events_kind_check check (
  kind in (
    'adopt', 'backup', 'restore-test', 'rehearsal', 'deploy', 'rollback', 'note',
    'attempt', 'step', 'restore', 'breach'
  )
);

revoke all on all tables in schema pymilk from public;
