-- Stand-in of pymilk for moddatetime: sets the column named by the trigger to now.

create function moddatetime() returns trigger
language plpgsql
as $$
begin
  if tg_when <> 'BEFORE' or tg_op <> 'UPDATE' or tg_nargs <> 1 then
    raise exception 'moddatetime: takes one column, before update for each row'
      using errcode = '39P01';
  end if;
  return jsonb_populate_record(new, jsonb_build_object(tg_argv[0], now()));
end;
$$;
