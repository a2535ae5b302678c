-- The total of a sale is a sum of money: above 0, below 10^10, in whole paise.
-- do: correct the total of the sale.
select
  'sale' as entity,
  sale.id::text as entity_id,
  'above 0, below 10^10, at most two decimals' as expected,
  sale.total_amount::text as found
from public.sales as sale
where not (
  sale.total_amount > 0
  and sale.total_amount < 10000000000
  and sale.total_amount = round(sale.total_amount, 2)
);
