-- Shows that gap 003 is in effect.

do $$
begin
  perform public.check_payment_invariants();
end;
$$;
