-- Shows that gap 002 is in effect.

do $$
begin
  perform public.check_payment_invariants();
end;
$$;
