-- Stand-in of pymilk for index_advisor, a tool for people who tune queries: it has no advice.

create function index_advisor(query text)
returns table (
  startup_cost_before jsonb,
  startup_cost_after jsonb,
  total_cost_before jsonb,
  total_cost_after jsonb,
  index_statements text[],
  errors text[]
)
language sql
as $$
  select null::jsonb, null::jsonb, null::jsonb, null::jsonb, '{}'::text[],
    array['no advice is given on a copy']
$$;
