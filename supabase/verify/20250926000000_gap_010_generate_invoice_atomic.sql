-- Shows that gap 010 is in effect.

do $$
begin
  perform public.check_payment_invariants();
end;
$$;
