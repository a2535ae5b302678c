-- Stand-in of pymilk for pg_graphql: the way in is there, and answers with an error.

create function graphql.resolve(
  query text,
  variables jsonb default '{}',
  "operationName" text default null,
  extensions jsonb default null
) returns jsonb
language sql
as $$
  select jsonb_build_object(
    'errors', jsonb_build_array(jsonb_build_object('message', 'GraphQL is not resolved on a copy'))
  )
$$;

grant usage on schema graphql to postgres, anon, authenticated, service_role;
