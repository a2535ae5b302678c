-- The fourth version of the ledger: the first look after a deploy has an event of its own, so that
-- whoever reads the ledger later can lay before and after side by side.
alter table pymilk.events drop constraint events_kind_check;
alter table pymilk.events add constraint events_kind_check check (
  kind in (
    'adopt', 'backup', 'restore-test', 'rehearsal', 'deploy', 'rollback', 'note',
    'attempt', 'step', 'restore', 'breach', 'after'
  )
);
