"""A world in which there is one of each kind of thing, joined in each way."""

from dairy.billing import Billing
from support.databases import Database


def plant(database: Database) -> Billing:
    """Make it in a database with all gaps fixed; nothing in it is wrong."""
    books = Billing(database.connect(autocommit=True))
    customer = books.customer(opening_balance=500)
    payment, sale, billed = (
        books.payment(customer, 800),
        books.sale(customer, 40),
        books.sale(customer, 50),
    )
    invoice = books.billed(customer, billed, total=100)
    books.line(invoice, delivery=books.delivery(customer))
    books.allocate(payment, {invoice: 60})
    books.pay_opening(payment, customer, 10)
    books.pay_sales(payment, sale)
    books.payment(customer, 100)
    books.cancel(books.billed(customer, books.sale(customer, 30), total=30))
    books.delete(books.billed(customer, books.sale(customer, 20), total=20))
    books.run(
        "update public.invoice_metadata"
        " set invoice_number = public.next_invoice_number('202526') where id = %s",
        invoice,
    )
    return books
