-- What a call paid, the same in the answers of all functions that pay several things at once:
-- {"opening_balance": rupees, "invoices": [{invoice_id, applied}], "sales": [{sale_id, applied}]}.
--
-- Locks: none.

create or replace function private.describe_applied(
  p_opening_balance numeric,
  p_invoice_ids uuid[],
  p_invoice_amounts numeric[],
  p_sale_ids uuid[],
  p_sale_amounts numeric[]
)
returns jsonb
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- return
  return jsonb_build_object(
    'opening_balance', coalesce(p_opening_balance, 0),
    'invoices', (
      select coalesce(
        jsonb_agg(
          jsonb_build_object('invoice_id', line.id, 'applied', line.amount) order by line.position
        ),
        '[]'
      )
      from unnest(p_invoice_ids, p_invoice_amounts) with ordinality as line (id, amount, position)
    ),
    'sales', (
      select coalesce(
        jsonb_agg(
          jsonb_build_object('sale_id', line.id, 'applied', line.amount) order by line.position
        ),
        '[]'
      )
      from unnest(p_sale_ids, p_sale_amounts) with ordinality as line (id, amount, position)
    )
  );
end;
$$;

comment on function private.describe_applied(numeric, uuid[], numeric[], uuid[], numeric[]) is
'What a call paid, as JSON: opening_balance, invoices, sales.';

revoke all on function private.describe_applied(numeric, uuid[], numeric[], uuid[], numeric[])
from public, anon, authenticated, service_role;
