-- Undoes harden_access, exactly: row security goes off where it was off, and every privilege is what
-- this project had before. No row is touched.
--
-- Locks: dropping a policy takes access exclusive on its table, to the commit.

drop policy "Allow all for authenticated" on public.unapplied_payments;
drop policy "Allow all for authenticated" on public.invoice_payments;
drop policy "Allow all for authenticated" on public.invoice_line_items;

alter table public.unapplied_payments disable row level security;
alter table public.invoice_payments disable row level security;
alter table public.invoice_line_items disable row level security;

select private.restore_privileges('20250927000000_harden_access');
