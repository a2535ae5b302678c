-- Shows that gap 006 is in effect.

do $$
begin
  perform public.check_payment_invariants();
end;
$$;
