-- Unpacks a caller's allocations, `[{"invoiceId": uuid, "amount": number}]`, into arrays: the only
-- place that reads the jsonb.
--
-- `invoice_id` is accepted too (both, when they say the same). Amounts are JSON numbers or decimal
-- strings, > 0, below 10^10, of at most two decimals after trailing zeros. Whatever comes, a
-- refusal has a reason: text is measured and matched before it is cast.
--
-- Locks: none.

create or replace function private.parse_allocations(
  p_allocations jsonb,
  out invoice_ids uuid[],
  out amounts numeric[]
)
returns record
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
declare
  v_line jsonb;
  v_invoice text;
  v_amount text;
  v_money numeric;
  v_twice uuid;
begin
  -- check
  if p_allocations is null or jsonb_typeof(p_allocations) <> 'array' then
    raise exception using
      errcode = 'PT400',
      message = 'allocations_not_a_list',
      detail = jsonb_build_object('given', coalesce(jsonb_typeof(p_allocations), 'null'))::text,
      hint = 'Send a list such as [{"invoiceId": "…", "amount": 300}].';
  elsif p_allocations = '[]' then
    raise exception using
      errcode = 'PT400',
      message = 'allocations_empty',
      detail = jsonb_build_object('lines', 0)::text,
      hint = 'Name at least one invoice and the amount that it gets.';
  end if;

  -- A loop of plain expressions: a query that did it for all lines would take its time to begin,
  -- and most calls have one line.
  for v_position in 0..jsonb_array_length(p_allocations) - 1 loop
    v_line := p_allocations -> v_position;
    v_invoice := coalesce(v_line ->> 'invoiceId', v_line ->> 'invoice_id');
    v_amount := v_line ->> 'amount';

    if
      v_amount is null
      or v_invoice is null
      -- a uuid; one pattern for all of it takes four times as long
      or v_invoice not like '________-____-____-____-____________'
      or v_invoice ~ '[^0-9a-fA-F-]'
      or length(replace(v_invoice, '-', '')) <> 32
      or lower(v_line ->> 'invoice_id') <> lower(v_invoice)
    then
      raise exception using
        errcode = 'PT400',
        message = 'allocation_malformed',
        detail = jsonb_build_object(
          'line', v_position + 1, 'given', left(v_line::text, 200)
        )::text,
        hint = 'Each line names one invoice (invoiceId, a uuid) and its amount.';
    end if;

    v_money := case jsonb_typeof(v_line -> 'amount')
      when 'number' then trim_scale(v_amount::numeric)
      when 'string' then
        case
          when length(v_amount) <= 40 and v_amount ~ '^[0-9]+(\.[0-9]+)?$'
            then trim_scale(v_amount::numeric)
        end
    end;

    if v_money > 0 and v_money < 10000000000 and scale(v_money) <= 2 then
      invoice_ids[v_position + 1] := v_invoice::uuid;
      amounts[v_position + 1] := v_money;
    else
      raise exception using
        errcode = 'PT400',
        message = 'amount_invalid',
        detail = jsonb_build_object(
          'line', v_position + 1,
          'invoice_id', v_invoice::uuid,
          'given', left((v_line -> 'amount')::text, 200)
        )::text,
        hint = 'An amount is above 0, below 10,000,000,000 and has at most two decimals.';
    end if;
  end loop;

  if cardinality(invoice_ids) > 1 then
    select named.invoice_id into v_twice
    from unnest(invoice_ids) as named (invoice_id)
    group by named.invoice_id
    having count(*) > 1
    limit 1;
  end if;

  if v_twice is not null then
    raise exception using
      errcode = 'PT422',
      message = 'invoice_named_twice',
      detail = jsonb_build_object('invoice_id', v_twice)::text,
      hint = 'Name each invoice once, with the whole amount that it gets.';
  end if;
end;
$$;

comment on function private.parse_allocations(jsonb) is
'Unpacks [{"invoiceId": uuid, "amount": number}] into arrays; refuses whatever else.';

revoke all on function private.parse_allocations(jsonb)
from public, anon, authenticated, service_role;
