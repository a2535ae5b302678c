-- Whether a row is written by anybody but the database's own triggers: what is said then of a counter,
-- or of what follows from one, is not believed.
--
-- The counters move inside triggers, as the owner. An API role inside a trigger is one that made a
-- trigger of its own, on a temporary table: no more believed there than anywhere else.
--
-- A call of ours in anybody's trigger, and a trigger of the project's that runs as the owner, look from
-- here like the counters. So this is asked where an update may name nothing but what counters write;
-- the triggers of everything else do without it.
--
-- It is asked in WHEN clauses, where whoever writes is still the current user; so everybody may execute
-- it. As a call it is short: Postgres reads a WHEN clause from its text anew in each statement.
--
-- Locks: none.

create or replace function private.outside_our_triggers()
returns boolean
language plpgsql
stable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  return pg_trigger_depth() = 0
    or current_user::text = any('{anon,authenticated,service_role}');
end;
$$;

comment on function private.outside_our_triggers() is
'Whether a row is written by anybody but the database''s own triggers.';

revoke all on function private.outside_our_triggers()
from public, anon, authenticated, service_role;
grant execute on function private.outside_our_triggers() to public;
