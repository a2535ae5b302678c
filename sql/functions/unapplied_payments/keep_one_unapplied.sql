-- After rows were inserted into unapplied_payments: each takes the place of those that were there for
-- its payment. It comes after the insert and not before it, so that a row that is not inserted after
-- all (`on conflict do nothing`) takes nobody's place.
--
-- Locks: none; put_true_unapplied holds the payments.

create or replace function private.keep_one_unapplied()
returns trigger
language plpgsql
security definer -- the mirror is the database's, whatever the caller may delete
set search_path = pg_catalog, pg_temp
as $$
begin
  -- write
  delete from public.unapplied_payments as mirror
  using (
    select distinct on (added.payment_id) added.payment_id, added.id
    from new_rows as added
    order by added.payment_id, added.created_at, added.id
  ) as kept
  where mirror.payment_id = kept.payment_id and mirror.id <> kept.id;

  return null;
end;
$$;

comment on function private.keep_one_unapplied() is
'Trigger: a new row of unapplied_payments takes the place of the payment''s other rows.';

revoke all on function private.keep_one_unapplied() from public, anon, authenticated, service_role;
