-- Shows that gap 009 is in effect.

do $$
begin
  perform public.check_payment_invariants();
end;
$$;
