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
declare
  v_invoices jsonb[] := '{}'::jsonb[];
  v_sales jsonb[] := '{}'::jsonb[];
begin
  for v_line in 1..coalesce(cardinality(p_invoice_ids), 0) loop
    v_invoices[v_line] := jsonb_build_object(
      'invoice_id', p_invoice_ids[v_line], 'applied', p_invoice_amounts[v_line]
    );
  end loop;

  for v_line in 1..coalesce(cardinality(p_sale_ids), 0) loop
    v_sales[v_line] := jsonb_build_object(
      'sale_id', p_sale_ids[v_line], 'applied', p_sale_amounts[v_line]
    );
  end loop;

  -- return
  return jsonb_build_object(
    'opening_balance', coalesce(p_opening_balance, 0),
    'invoices', to_jsonb(v_invoices),
    'sales', to_jsonb(v_sales)
  );
end;
$$;

comment on function private.describe_applied(numeric, uuid[], numeric[], uuid[], numeric[]) is
'What a call paid, as JSON: opening_balance, invoices, sales.';

revoke all on function private.describe_applied(numeric, uuid[], numeric[], uuid[], numeric[])
from public, anon, authenticated, service_role;
