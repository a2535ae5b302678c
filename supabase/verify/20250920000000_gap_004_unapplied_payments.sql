-- Shows that gap 004 is in effect.

do $$
begin
  perform public.check_payment_invariants();
end;
$$;
