-- Unpacks a caller's list of sales, `[{"saleId": uuid}]`, into arrays.
--
-- `sale_id` is accepted too (both, when they say the same). A sale is paid whole, so its amount may
-- be left out (null in the array); where it is given it is checked like any other amount. Whatever
-- comes, a refusal has a reason: text is measured and matched before it is cast.
--
-- Locks: none.

create or replace function private.parse_sales(
  p_sales jsonb,
  out sale_ids uuid[],
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
  if p_sales is null or jsonb_typeof(p_sales) <> 'array' then
    raise exception using
      errcode = 'PT400',
      message = 'allocations_not_a_list',
      detail = jsonb_build_object('given', coalesce(jsonb_typeof(p_sales), 'null'))::text,
      hint = 'Send a list such as [{"saleId": "…"}].';
  elsif p_sales = '[]' then
    raise exception using
      errcode = 'PT400',
      message = 'allocations_empty',
      detail = jsonb_build_object('lines', 0)::text,
      hint = 'Name at least one sale.';
  end if;

  with line as (
    select
      element.position,
      nullif(element.value -> 'amount', 'null') as amount,
      coalesce(element.value ->> 'saleId', element.value ->> 'sale_id') as sale,
      coalesce(element.value ->> 'sale_id', element.value ->> 'saleId') as same_sale
    from jsonb_array_elements(p_sales) with ordinality as element (value, position)
  ),

  unpacked as (
    select
      line.position,
      line.amount,
      case
        when
          line.sale ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$'
          and lower(line.sale) = lower(line.same_sale)
          then line.sale::uuid
      end as sale_id,
      case when line.amount is not null then private.money(line.amount) end as money
    from line
  ),

  judged as (
    select
      unpacked.*,
      case
        when unpacked.sale_id is null then 'sale_malformed'
        when unpacked.amount is not null and unpacked.money is null then 'amount_invalid'
      end as reason
    from unpacked
  )

  select
    array_agg(judged.sale_id order by judged.position),
    array_agg(judged.money order by judged.position),
    array_agg(judged.reason order by judged.position),
    min(judged.position) filter (where judged.reason is not null)
  into sale_ids, amounts, v_reasons, v_line
  from judged;

  if v_reasons[v_line] = 'sale_malformed' then
    raise exception using
      errcode = 'PT400',
      message = 'allocation_malformed',
      detail = jsonb_build_object(
        'line', v_line, 'given', left((p_sales -> (v_line - 1))::text, 200)
      )::text,
      hint = 'Each line names one sale (saleId, a uuid).';
  elsif v_reasons[v_line] = 'amount_invalid' then
    raise exception using
      errcode = 'PT400',
      message = 'amount_invalid',
      detail = jsonb_build_object(
        'line', v_line,
        'sale_id', sale_ids[v_line],
        'given', left((p_sales -> (v_line - 1) -> 'amount')::text, 200)
      )::text,
      hint = 'An amount is above 0, below 10,000,000,000 and has at most two decimals.';
  end if;

  select named.sale_id into v_twice
  from unnest(sale_ids) as named (sale_id)
  group by named.sale_id
  having count(*) > 1
  limit 1;

  if found then
    raise exception using
      errcode = 'PT422',
      message = 'sale_named_twice',
      detail = jsonb_build_object('sale_id', v_twice)::text,
      hint = 'Name each sale once; it is paid whole.';
  end if;
end;
$$;

comment on function private.parse_sales(jsonb) is
'Unpacks [{"saleId": uuid}] into arrays, amounts null where left out; refuses whatever else.';

revoke all on function private.parse_sales(jsonb) from public, anon, authenticated, service_role;
