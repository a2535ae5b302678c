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
  v_reasons text[];
  v_line integer;
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

  with line as (
    select
      element.position,
      element.value ->> 'amount' as amount,
      jsonb_typeof(element.value -> 'amount') as amount_type,
      coalesce(element.value ->> 'invoiceId', element.value ->> 'invoice_id') as invoice,
      coalesce(element.value ->> 'invoice_id', element.value ->> 'invoiceId') as same_invoice
    from jsonb_array_elements(p_allocations) with ordinality as element (value, position)
  ),

  unpacked as (
    select
      line.position,
      line.amount,
      case
        when
          line.invoice ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$'
          and lower(line.invoice) = lower(line.same_invoice)
          then line.invoice::uuid
      end as invoice_id,
      case
        when line.amount_type = 'number' then trim_scale(line.amount::numeric)
        when
          line.amount_type = 'string'
          and length(line.amount) <= 40
          and line.amount ~ '^[0-9]+(\.[0-9]+)?$'
          then trim_scale(line.amount::numeric)
      end as money
    from line
  ),

  judged as (
    select
      unpacked.*,
      case
        when unpacked.invoice_id is null or unpacked.amount is null then 'allocation_malformed'
        when unpacked.money > 0 and unpacked.money < 10000000000 and scale(unpacked.money) <= 2
          then null
        else 'amount_invalid'
      end as reason
    from unpacked
  )

  select
    array_agg(judged.invoice_id order by judged.position),
    array_agg(judged.money order by judged.position),
    array_agg(judged.reason order by judged.position),
    min(judged.position) filter (where judged.reason is not null)
  into invoice_ids, amounts, v_reasons, v_line
  from judged;

  if v_reasons[v_line] = 'allocation_malformed' then
    raise exception using
      errcode = 'PT400',
      message = 'allocation_malformed',
      detail = jsonb_build_object(
        'line', v_line, 'given', left((p_allocations -> (v_line - 1))::text, 200)
      )::text,
      hint = 'Each line names one invoice (invoiceId, a uuid) and its amount.';
  elsif v_reasons[v_line] = 'amount_invalid' then
    raise exception using
      errcode = 'PT400',
      message = 'amount_invalid',
      detail = jsonb_build_object(
        'line', v_line,
        'invoice_id', invoice_ids[v_line],
        'given', left((p_allocations -> (v_line - 1) -> 'amount')::text, 200)
      )::text,
      hint = 'An amount is above 0, below 10,000,000,000 and has at most two decimals.';
  end if;

  select named.invoice_id into v_twice
  from unnest(invoice_ids) as named (invoice_id)
  group by named.invoice_id
  having count(*) > 1
  limit 1;

  if found then
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
