-- Shows that gap 005 is in effect.

do $$
begin
  perform public.check_payment_invariants();
end;
$$;
