-- The reason that a caller gives, as it is kept: without blanks around it, null when there is none,
-- at most 1,000 characters.
--
-- Refusals: PT400 reason_too_long.
--
-- Locks: none.

create or replace function private.given_reason(p_reason text)
returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_reason text := nullif(regexp_replace(p_reason, '^\s+|\s+$', '', 'g'), '');
begin
  -- check
  if length(v_reason) > 1000 then
    raise exception using
      errcode = 'PT400',
      message = 'reason_too_long',
      detail = jsonb_build_object('length', length(v_reason), 'longest', 1000)::text,
      hint = 'Say it in at most 1,000 characters.';
  end if;

  -- return
  return v_reason;
end;
$$;

comment on function private.given_reason(text) is
'The reason that a caller gives, trimmed; null when there is none.';

revoke all on function private.given_reason(text) from public, anon, authenticated, service_role;
