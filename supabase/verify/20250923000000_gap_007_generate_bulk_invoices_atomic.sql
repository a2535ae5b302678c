-- Shows that gap 007 is in effect.

do $$
begin
  perform public.check_payment_invariants();
end;
$$;
