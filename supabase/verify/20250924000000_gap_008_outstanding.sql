-- Shows that gap 008 is in effect.

do $$
begin
  perform public.check_payment_invariants();
end;
$$;
