"""Money that was on a billed sale before anything was held comes off when somebody takes it off."""

from dairy.books import Books
from dairy.scripts import run_file
from support.databases import MIGRATIONS, Database


def test_money_comes_off_a_billed_sale(dairy: Database) -> None:
    books = Books(dairy.connect(autocommit=True))
    customer = books.customer()
    payment, invoice = books.payment(customer, 100), books.invoice(customer, 40)
    sale = books.value(
        "insert into public.sales (customer_id, product_id, quantity, unit_price, total_amount,"
        " sale_type, payment_status) select %s, id, 1, 40, 40, 'Credit', 'Billed'"
        " from public.products limit 1 returning id",
        customer,
    )
    books.run(
        "insert into public.invoice_line_items (invoice_id, line_item_type, sale_id, line_total)"
        " values (%s, 'manual_sale', %s, 40)",
        invoice,
        sale,
    )
    books.run(
        "insert into public.sales_payments (sales_id, payment_id, amount_allocated)"
        " values (%s, %s, 40)",
        sale,
        payment,
    )
    for path in sorted(MIGRATIONS.glob("*.sql"))[1:]:
        run_file(dairy.url, path)

    books.run("delete from public.sales_payments where payment_id = %s", payment)

    assert books.payment_totals(payment) == (0, 100, "unapplied")
    says = "select amount_paid, payment_status from public.sales where id = %s"
    assert books.rows(says, sale) == [(0, "Billed")]
    assert books.broken() == []
