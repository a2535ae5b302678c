"""Rows that break rules which did not exist yet: what the gaps have to live with."""

from datetime import date

from dairy.books import Books


class Legacy:
    """Rows as years of the app's four calls may have left them."""

    def __init__(self, books: Books) -> None:
        self.customer = books.customer(opening_balance=100)
        other = books.customer()
        self.true, self.forgotten, self.over, self.strange, self.fraction, self.nan = (
            books.payment(self.customer, amount) for amount in (800, 800, 500, 50, "10.005", "NaN")
        )
        self.open, self.paid, self.late, self.cancelled = (
            books.invoice(self.customer, 1000),
            books.invoice(self.customer, 700),
            books.invoice(self.customer, 50, status="sent"),
            books.invoice(self.customer, 100, status="cancelled"),
        )
        self.draft = books.invoice(self.customer, 100, status="draft")
        for payment, invoice, amount in (
            (self.true, self.open, 300),
            (self.forgotten, self.paid, 700),  # the status was set, the amounts forgotten
            (self.over, self.open, 501),
            (self.strange, books.invoice(other, 100), 20),
            (self.strange, self.cancelled, 30),
        ):
            books.allocate_directly(payment, invoice, amount)
        books.run(
            "update public.payments set amount_applied = 300.00, amount_unapplied = 500,"
            " allocation_status = 'partially_applied' where id = %s",
            self.true,
        )
        books.run(
            "update public.payments set allocation_status = 'partially_applied',"
            " amount_unapplied = null where id = %s",
            self.forgotten,
        )
        books.run(
            "update public.invoice_metadata set invoice_status = 'paid' where id = %s", self.paid
        )
        books.run(
            "update public.invoice_metadata set due_date = '2020-01-01' where id = %s", self.late
        )


def offend_everywhere(books: Books) -> None:
    """Break each rule of each gap, in a database without any gap fixed."""
    Legacy(books)
    customer, other = books.customer(opening_balance=100), books.customer(opening_balance=50)
    product = books.value("select id from public.products order by code limit 1")
    if product is None:
        product = books.value(
            "insert into public.products (name, code, current_price) values ('Milk', 'M', 60)"
            " returning id"
        )
        books.run("insert into public.routes (name) values ('North')")
    route = books.value("select id from public.routes order by name limit 1")

    # 004: twice, wrong, missing, of somebody else
    twice, wrong, strange = (books.payment(customer, 800) for _ in range(3))
    for payment, owner, amount in (
        (twice, customer, 800),
        (twice, customer, 800),
        (wrong, customer, 5),
        (strange, other, 800),
    ):
        books.run(
            "insert into public.unapplied_payments (payment_id, customer_id, amount_unapplied)"
            " values (%s, %s, %s)",
            payment,
            owner,
            amount,
        )

    # 005: paid twice, by a stranger; a sale paid in part, by two, by a stranger, a Cash sale
    for payment, owner, amount in ((twice, customer, 80), (wrong, customer, 80), (wrong, other, 9)):
        books.run(
            "insert into public.opening_balance_payments (payment_id, customer_id, amount)"
            " values (%s, %s, %s)",
            payment,
            owner,
            amount,
        )
    sales = [
        books.value(
            "insert into public.sales (customer_id, product_id, quantity, unit_price,"
            " total_amount, sale_type, payment_status, sale_date)"
            " values (%s, %s, 1, 100, 100, 'Credit', %s, '2025-08-10') returning id",
            customer,
            product,
            status,
        )
        for status in ("Pending", "Completed", "Billed", "Billed")
    ]
    for sale, payment, amount in (
        (sales[0], twice, 10),
        (sales[1], twice, 60),
        (sales[1], wrong, 60),
    ):
        books.run(
            "insert into public.sales_payments (sales_id, payment_id, amount_allocated)"
            " values (%s, %s, %s)",
            sale,
            payment,
            amount,
        )

    # 006, 010: a delivery and a sale billed twice, by invoices that overlap
    delivery = books.value(
        "insert into public.deliveries (customer_id, product_id, route_id, order_date,"
        " planned_quantity, actual_quantity, unit_price, total_amount, delivery_status)"
        " values (%s, %s, %s, '2025-08-02', 1, 1, 60, 60, 'delivered') returning id",
        customer,
        product,
        route,
    )
    for number, status in enumerate(("sent", "draft", "cancelled")):
        invoice = books.value(
            "insert into public.invoice_metadata (invoice_number, customer_id, invoice_date,"
            " period_start, period_end, total_amount, invoice_status, amount_outstanding)"
            " values (%s, %s, '2025-09-01', '2025-08-01', '2025-08-31', 160, %s, 160)"
            " returning id",
            f"2025260000{number + 1}" if number else "odd one",
            customer,
            status,
        )
        books.run(
            "insert into public.invoice_line_items (invoice_id, line_item_type, delivery_id,"
            " quantity, unit_price, line_total) values (%s, 'subscription', %s, 1, 60, 60)",
            invoice,
            delivery,
        )
        books.run(
            "insert into public.invoice_line_items (invoice_id, line_item_type, sale_id,"
            " quantity, unit_price, line_total) values (%s, 'manual_sale', %s, 1, 100, 100)",
            invoice,
            sales[2],
        )

    # 009: unknown methods, beyond the limits, other spellings
    for method, amount in (("barter", 10), ("Cash", 70000), ("gpay", 300), ("CHEQUE", 5)):
        books.run(
            "insert into public.payments (customer_id, amount, payment_date, payment_method,"
            " amount_unapplied) values (%s, %s, %s, %s, %s)",
            customer,
            amount,
            date(2025, 9, 10),
            method,
            amount,
        )
