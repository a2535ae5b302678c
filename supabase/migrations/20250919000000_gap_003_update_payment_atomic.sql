-- GAP-003: a payment's amount could be edited below what is already allocated.

-- what the gap adds ------------------------------------------------------------------------------

create table private.payment_edits (
  id bigint generated always as identity primary key,
  at timestamptz not null default now(),
  recorded_by text not null,
  call_id uuid,
  payment_id uuid not null,
  was jsonb not null,
  became jsonb not null,
  reason text
);

comment on table private.payment_edits is
'Every change of what a payment says of itself, appended by trigger; it outlives the payment.';

create index payment_edits_payment on private.payment_edits (payment_id);

alter table private.payment_edits enable row level security;
revoke all on private.payment_edits from public, anon, authenticated, service_role;
revoke all on sequence private.payment_edits_id_seq
from public, anon, authenticated, service_role;

-- functions, quoted from sql/functions ----------------------------------------------------------
