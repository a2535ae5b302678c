-- Why a customer gets no invoice, as a sentence for people; null for one who does. Outcome and facts
-- are those of billing_lines.
--
-- Locks: none.

create or replace function private.billing_reason(p_outcome text, p_facts jsonb)
returns text
language plpgsql
immutable
security invoker
set search_path = pg_catalog, pg_temp
as $$
begin
  -- return
  return case p_outcome
    when 'nothing_to_bill' then 'There is nothing to bill.'
    when 'already_invoiced' then format(
      'Invoice %s covers %s to %s already.',
      coalesce(p_facts ->> 'invoice_number', p_facts ->> 'invoice_id'),
      p_facts ->> 'period_start',
      p_facts ->> 'period_end'
    )
    when 'invalid_delivery' then format(
      'The delivery of %s says %s × %s = %s.',
      p_facts ->> 'day',
      coalesce(p_facts ->> 'quantity', 'nothing'),
      p_facts ->> 'unit_price',
      p_facts ->> 'total_amount'
    )
    when 'invalid_sale' then format(
      'The sale of %s says %s, of which GST %s: no sum of money, or no part of it.',
      p_facts ->> 'day',
      p_facts ->> 'total_amount',
      p_facts ->> 'gst_amount'
    )
    when 'total_too_large' then format(
      'Everything together comes to %s, which is no invoice.', p_facts ->> 'total_amount'
    )
  end;
end;
$$;

comment on function private.billing_reason(text, jsonb) is
'Why a customer gets no invoice, as a sentence for people.';

revoke all on function private.billing_reason(text, jsonb)
from public, anon, authenticated, service_role;
