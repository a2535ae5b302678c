-- The app reports a call that was refused, and the back office one whose answer never came.
set local role authenticated;
select public.report_failed_allocation(
  'allocate_payment_atomic',
  'allocation_exceeds_payment',
  gen_random_uuid(),
  'used/failed_allocations',
  '{"requested": 900, "available": 800}'
);

set local role service_role;
select public.report_failed_allocation('record_payment_atomic', 'outcome_unknown');
