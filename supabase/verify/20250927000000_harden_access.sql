-- Shows that harden_access is in effect.

do $$
begin
  perform public.check_payment_invariants();
end;
$$;
