-- Stand-in of pymilk for http: whoever calls it is told that nothing is sent.

create domain http_method as text;
create type http_header as (field varchar, value varchar);
create type http_request as (
  method http_method, uri varchar, headers http_header[], content_type varchar, content varchar
);
create type http_response as (
  status integer, content_type varchar, headers http_header[], content varchar
);

create function http_header(field varchar, value varchar) returns http_header
language sql
as $$ select $1, $2 $$;

create function http(request http_request) returns http_response
language plpgsql
as $$
begin
  raise exception 'no request is sent from a copy: %', request.uri
    using errcode = '0A000', hint = 'The stand-in of the extension http sends nothing.';
end;
$$;

create function http_get(uri varchar) returns http_response
language sql
as $$ select @extschema@.http(('GET', $1, null, null, null)::@extschema@.http_request) $$;

create function http_get(uri varchar, data jsonb) returns http_response
language sql
as $$ select @extschema@.http_get($1) $$;

create function http_post(uri varchar, content varchar, content_type varchar)
returns http_response
language sql
as $$ select @extschema@.http(('POST', $1, null, $3, $2)::@extschema@.http_request) $$;

create function http_post(uri varchar, data jsonb) returns http_response
language sql
as $$ select @extschema@.http_post($1, $2::text, 'application/json') $$;

create function http_put(uri varchar, content varchar, content_type varchar)
returns http_response
language sql
as $$ select @extschema@.http(('PUT', $1, null, $3, $2)::@extschema@.http_request) $$;

create function http_patch(uri varchar, content varchar, content_type varchar)
returns http_response
language sql
as $$ select @extschema@.http(('PATCH', $1, null, $3, $2)::@extschema@.http_request) $$;

create function http_delete(uri varchar) returns http_response
language sql
as $$ select @extschema@.http(('DELETE', $1, null, null, null)::@extschema@.http_request) $$;

create function http_head(uri varchar) returns http_response
language sql
as $$ select @extschema@.http(('HEAD', $1, null, null, null)::@extschema@.http_request) $$;

create function http_set_curlopt(curlopt varchar, value varchar) returns boolean
language sql
as $$ select true $$;

create function http_reset_curlopt() returns boolean
language sql
as $$ select true $$;
