-- The second version of the ledger: runs that changed nothing, steps of a file that is no single
-- transaction, answers to notes, and what joins the events of one run.
create table pymilk.ledger_versions (
  version integer primary key,
  reached_at timestamptz not null default clock_timestamp(),
  person text not null,
  tool text not null
);
comment on table pymilk.ledger_versions is
  'Which versions this ledger has been through; the highest is the one that it has.';

alter table pymilk.events
add column run uuid,
add column outcome text not null default 'done',
add column plan_hash text,
add column step integer,
add column answers bigint references pymilk.events (id),
add column tool text,
add column client_address inet;
-- A default that is there from the start would put today's address into yesterday's rows.
alter table pymilk.events alter column client_address set default pg_catalog.inet_client_addr();

alter table pymilk.events drop constraint events_kind_check;
alter table pymilk.events add constraint events_kind_check check (
  kind in (
    'adopt', 'backup', 'restore-test', 'rehearsal', 'deploy', 'rollback', 'note',
    'attempt', 'step', 'restore'
  )
);
-- What is read as a deploy is one that happened: what came to nothing has a kind of its own.
alter table pymilk.events add constraint events_outcome_check check (
  case kind
    when 'attempt' then outcome in ('refused', 'failed', 'not-now', 'interrupted')
    when 'step' then outcome in ('begun', 'done', 'failed')
    else outcome = 'done'
  end
);
alter table pymilk.events add constraint events_step_check check ((kind = 'step') = (step is not null));
alter table pymilk.events add constraint events_answers_check check (answers is null or kind = 'note');

comment on column pymilk.events.kind is
  'What happened. An attempt is a deploy or rollback that changed nothing; a step is one statement'
  ' of a file that can''t be one transaction.';
comment on column pymilk.events.run is
  'The events of one run of the tool have it in common: a deploy, its backup and its rehearsal.';
comment on column pymilk.events.outcome is
  'How an attempt or a step came out; everything else is there only because it was done.';
comment on column pymilk.events.plan_hash is
  'SHA-256 of the plan that was approved: text, schema and target.';
comment on column pymilk.events.step is 'Which statement of the file, counted from 1.';
comment on column pymilk.events.answers is 'The note that this note answers.';
comment on column pymilk.events.tool is 'Which pymilk wrote it.';
comment on column pymilk.events.client_address is
  'Where the connection came from, as the server sees it; none through a socket.';
comment on column pymilk.events.evidence is
  'The proof: checks, overrides with their reasons, backup, rehearsal, figures, lock waits, times.';

create trigger append_only before update or delete on pymilk.ledger_versions
for each row execute function pymilk.refuse_change();
create trigger append_only_whole before truncate on pymilk.ledger_versions
for each statement execute function pymilk.refuse_change();

revoke all on all tables in schema pymilk from public;
