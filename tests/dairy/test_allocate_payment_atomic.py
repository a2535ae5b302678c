"""allocate_payment_atomic: what it writes and answers when it is asked for what can be done."""

from datetime import date
from decimal import Decimal
from uuid import UUID

import pytest

from dairy.books import Books, refused
from support.databases import Database


def test_300_of_800_leaves_500(books: Books) -> None:
    customer = books.customer()
    payment, invoice = books.payment(customer, 800), books.invoice(customer, 1000)

    answer = books.allocate(payment, {invoice: 300})

    assert answer.success is True
    assert answer.allocated_amount == 300
    assert answer.total_allocated == 300
    assert answer.payment_amount == 800
    assert answer.unapplied_amount == 500
    assert answer.allocation_status == "partially_applied"
    assert answer.applied == [{"invoice_id": str(invoice), "requested": 300, "applied": 300}]
    assert books.payment_totals(payment) == (300, 500, "partially_applied")
    assert books.invoice_totals(invoice) == (300, 700, "partially_paid")
    assert books.allocations(payment) == {invoice: 300}
    assert books.unapplied(payment) == [500]
    assert books.broken() == []


def test_900_of_800_is_refused_and_nothing_is_written(books: Books) -> None:
    customer = books.customer()
    payment, invoice = books.payment(customer, 800), books.invoice(customer, 1000)
    mirrored = books.unapplied(payment)

    with refused("allocation_exceeds_payment", status=409) as facts:
        books.allocate(payment, {invoice: 900})

    assert facts == {"payment_id": str(payment), "requested": 900, "available": 800}
    assert books.payment_totals(payment) == (0, 800, "unapplied")
    assert books.invoice_totals(invoice) == (0, 1000, "sent")
    assert books.allocations(payment) == {}
    assert books.unapplied(payment) == mirrored
    assert books.value("select count(*) from private.allocation_journal") == 0
    assert books.value("select count(*) from private.request_keys") == 0


def test_one_line_too_much_refuses_the_lines_that_would_fit(books: Books) -> None:
    customer = books.customer()
    payment = books.payment(customer, 800)
    fits, too_small = books.invoice(customer, 1000), books.invoice(customer, 100)

    with refused("allocation_exceeds_invoice", status=409) as facts:
        books.allocate(payment, {fits: 300, too_small: Decimal("100.01")})

    assert facts == {"invoice_id": str(too_small), "requested": 100.01, "available": 100}
    assert books.allocations(payment) == {}


def test_the_last_paisa_pays_both_sides(books: Books) -> None:
    customer = books.customer()
    payment = books.payment(customer, "300.30")
    first, second = books.invoice(customer, "100.10"), books.invoice(customer, "200.20")

    answer = books.allocate(payment, {first: "100.10", second: "200.20"})

    assert answer.allocation_status == "fully_applied"
    assert answer.unapplied_amount == 0
    assert books.invoice_totals(first) == (Decimal("100.10"), 0, "paid")
    assert books.invoice_totals(second) == (Decimal("200.20"), 0, "paid")
    assert books.unapplied(payment) == []


def test_topping_up_adds_to_the_row_of_the_pair(books: Books) -> None:
    customer = books.customer()
    payment, invoice = books.payment(customer, 800), books.invoice(customer, 1000)
    books.allocate(payment, {invoice: 300})

    answer = books.allocate(payment, {invoice: 200})

    assert (answer.allocated_amount, answer.total_allocated) == (200, 500)
    assert books.allocations(payment) == {invoice: 500}
    entries = books.rows(
        "select amount_change, call_id is not null from private.allocation_journal order by id"
    )
    assert entries == [(300, True), (200, True)]
    assert books.value("select count(distinct call_id) from private.allocation_journal") == 2


def test_both_spellings_and_decimal_strings_say_the_same(books: Books) -> None:
    customer = books.customer()
    payment, invoice = books.payment(customer, 800), books.invoice(customer, 1000)

    for line in (
        f'{{"invoiceId": "{invoice}", "amount": 10}}',
        f'{{"invoice_id": "{invoice}", "amount": "10.000"}}',
        f'{{"invoiceId": "{str(invoice).upper()}", "amount": 1e1}}',
        f'{{"invoiceId": "{invoice}", "invoice_id": "{invoice}", "amount": "0010"}}',
        f'{{"invoiceId": "{invoice}", "amount": 10.00, "invoiceNumber": "20252600001"}}',
    ):
        assert books.call(payment, f"[{line}]").allocated_amount == 10

    assert books.allocations(payment) == {invoice: 50}


def test_validate_amounts_is_true_unless_it_is_false(books: Books) -> None:
    customer = books.customer()
    payment, invoice = books.payment(customer, 800), books.invoice(customer, 1000)

    with refused("allocation_exceeds_payment"):
        books.allocate(payment, {invoice: 900}, validate=None)
    with refused("allocation_exceeds_payment"):
        books.run(
            "select public.allocate_payment_atomic(%s, jsonb_build_array("
            "jsonb_build_object('invoiceId', %s::text, 'amount', 900)))",
            payment,
            str(invoice),
        )


class TestCutting:
    """p_validate_amounts false: no hard limit is passed, each line is cut in the order given."""

    def test_each_line_is_cut_to_what_payment_and_invoice_can_take(self, books: Books) -> None:
        customer = books.customer()
        payment = books.payment(customer, 500)
        small, large, late = (
            books.invoice(customer, 100),
            books.invoice(customer, 1000),
            books.invoice(customer, 1000),
        )

        answer = books.allocate(payment, {small: 250, large: 350, late: 80}, validate=False)

        assert answer.applied == [
            {"invoice_id": str(small), "requested": 250, "applied": 100},
            {"invoice_id": str(large), "requested": 350, "applied": 350},
            {"invoice_id": str(late), "requested": 80, "applied": 50},
        ]
        assert answer.allocated_amount == 500
        assert books.allocations(payment) == {small: 100, large: 350, late: 50}
        assert books.broken() == []

    def test_what_nothing_is_left_for_gets_nothing(self, books: Books) -> None:
        customer = books.customer()
        payment = books.payment(customer, 100)
        paid, open_one = books.invoice(customer, 100), books.invoice(customer, 100)
        books.allocate(payment, {paid: 100})

        answer = books.allocate(payment, {paid: 50, open_one: 50}, validate=False)

        assert [each["applied"] for each in answer.applied] == [0, 0]
        assert (answer.success, answer.allocated_amount) == (True, 0)
        assert books.allocations(payment) == {paid: 100}

    @pytest.mark.parametrize("broken", ["cancelled", "stranger", "unknown", "twice", "nothing"])
    def test_whatever_is_not_about_limits_is_refused_all_the_same(
        self, books: Books, broken: str
    ) -> None:
        customer = books.customer()
        payment, invoice = books.payment(customer, 100), books.invoice(customer, 100)
        other = {
            "cancelled": lambda: books.invoice(customer, 100, status="cancelled"),
            "stranger": lambda: books.invoice(books.customer(), 100),
            "unknown": lambda: UUID(int=1),
            "twice": lambda: invoice,
            "nothing": lambda: invoice,
        }[broken]()
        reason = {
            "cancelled": "invoice_cancelled",
            "stranger": "customer_mismatch",
            "unknown": "invoice_not_found",
            "twice": "invoice_named_twice",
            "nothing": "amount_invalid",
        }[broken]
        first = f'{{"invoiceId": "{invoice}", "amount": 10}}'
        second = f'{{"invoiceId": "{other}", "amount": {0 if broken == "nothing" else 10}}}'

        with refused(reason):
            books.call(payment, f"[{first}, {second}]", validate=False)

        assert books.allocations(payment) == {}


class TestWho:
    """Both sides of an allocation belong together, and both are there."""

    def test_another_customers_invoice_is_refused(self, books: Books) -> None:
        payment = books.payment(books.customer(), 100)
        strange = books.invoice(books.customer(), 100)

        with refused("customer_mismatch", status=422) as facts:
            books.allocate(payment, {strange: 10})

        assert facts == {"payment_id": str(payment), "invoice_id": str(strange)}

    def test_a_payment_without_a_customer_takes_no_allocation_until_it_has_one(
        self, books: Books
    ) -> None:
        customer = books.customer()
        payment, invoice = books.payment(None, 100), books.invoice(customer, 100)

        with refused("payment_without_customer", status=422):
            books.allocate(payment, {invoice: 10})

        books.run("update public.payments set customer_id = %s where id = %s", customer, payment)
        assert books.allocate(payment, {invoice: 10}).total_allocated == 10

    def test_unknown_payments_and_invoices_are_not_found(self, books: Books) -> None:
        customer = books.customer()
        payment, invoice = books.payment(customer, 100), books.invoice(customer, 100)

        with refused("payment_not_found", status=404) as facts:
            books.allocate(UUID(int=1), {invoice: 10})
        assert facts == {"payment_id": str(UUID(int=1))}
        with refused("invoice_not_found", status=404) as facts:
            books.allocate(payment, {UUID(int=2): 10})
        assert facts == {"invoice_id": str(UUID(int=2))}
        with refused("payment_required", status=400):
            books.allocate(None, {invoice: 10})

    def test_a_cancelled_invoice_takes_no_money_and_a_draft_does(self, books: Books) -> None:
        customer = books.customer()
        payment = books.payment(customer, 100)
        cancelled = books.invoice(customer, 100, status="cancelled")
        draft = books.invoice(customer, 100, status="draft")

        with refused("invoice_cancelled", status=409):
            books.allocate(payment, {cancelled: 10})
        books.allocate(payment, {draft: 100})

        assert books.invoice_totals(draft) == (100, 0, "draft")

    def test_who_called_stands_in_the_journal(self, fixed: Database, books: Books) -> None:
        customer = books.customer()
        payment, invoice = books.payment(customer, 100), books.invoice(customer, 100)
        clerk = "5f3f2a3e-0000-4000-8000-000000000001"
        app = Books(fixed.connect(role="authenticated", autocommit=True))
        app.allocate(payment, {invoice: 1})
        app.setting("request.jwt.claims", f'{{"sub": "{clerk}", "role": "authenticated"}}')
        app.allocate(payment, {invoice: 2})
        books.run("update public.invoice_payments set amount_allocated = 10")

        entries = books.rows(
            "select recorded_by, amount_change, call_id is null"
            " from private.allocation_journal order by id"
        )

        assert entries == [("authenticated", 1, False), (clerk, 2, False), ("postgres", 7, True)]


class TestStatuses:
    """Every status follows from the totals and the dates."""

    def test_an_invoice_goes_from_sent_over_partially_paid_to_paid_and_back(
        self, books: Books
    ) -> None:
        customer = books.customer()
        payment, invoice = books.payment(customer, 100), books.invoice(customer, 100)
        seen = [books.invoice_totals(invoice).status]
        for amount in (40, 60):
            books.allocate(payment, {invoice: amount})
            seen.append(books.invoice_totals(invoice).status)
        books.run("delete from public.invoice_payments where payment_id = %s", payment)
        seen.append(books.invoice_totals(invoice).status)

        assert seen == ["sent", "partially_paid", "paid", "sent"]
        assert books.payment_totals(payment) == (0, 100, "unapplied")

    def test_an_unpaid_invoice_past_its_day_is_overdue(self, books: Books) -> None:
        """When somebody looks: as it was inserted it says what its writer said."""
        customer = books.customer()
        payment = books.payment(customer, 100)
        invoice = books.invoice(customer, 100, due=date(2025, 9, 1))
        seen = [books.invoice_totals(invoice).status]
        books.allocate(payment, {invoice: 40})
        seen.append(books.invoice_totals(invoice).status)
        books.run("delete from public.invoice_payments where payment_id = %s", payment)
        seen.append(books.invoice_totals(invoice).status)

        assert seen == ["sent", "partially_paid", "overdue"]

    def test_the_day_is_the_dairys_not_the_servers(self, books: Books) -> None:
        today, here = books.rows(
            "select public.business_today(),"
            " (now() at time zone 'UTC' + interval '5.5 hours')::date"
        )[0]
        assert today == here

    def test_of_payments_that_come_in_one_statement_it_is_the_newest(self, books: Books) -> None:
        customer = books.customer()
        days = [date(2025, 9, day) for day in (1, 20, 10)]
        payments = [books.payment(customer, 10, paid_on=day) for day in days]
        invoice = books.invoice(customer, 100)
        books.run(
            "insert into public.invoice_payments (payment_id, invoice_id, amount_allocated)"
            " select id, %s, 10 from unnest(%s::uuid[]) as id",
            invoice,
            payments,
        )
        last = "select last_payment_date from public.invoice_metadata where id = %s"
        assert books.value(last, invoice) == max(days)

    def test_the_last_payment_date_is_that_of_the_newest_payment_on_it(self, books: Books) -> None:
        def last() -> date | None:
            found = books.value(
                "select last_payment_date from public.invoice_metadata where id = %s", invoice
            )
            assert found is None or isinstance(found, date)
            return found

        customer = books.customer()
        newer = books.payment(customer, 10, paid_on=date(2025, 9, 20))
        older = books.payment(customer, 10, paid_on=date(2025, 9, 1))
        invoice = books.invoice(customer, 100)
        seen = [last()]
        books.allocate(newer, {invoice: 10})
        books.allocate(older, {invoice: 10})
        seen.append(last())
        books.run("update public.payments set payment_date = '2025-08-05' where id = %s", newer)
        seen.append(last())
        books.run("delete from public.invoice_payments where payment_id = %s", older)
        seen.append(last())

        assert seen == [None, date(2025, 9, 20), date(2025, 9, 1), date(2025, 8, 5)]
        assert books.broken() == []

    def test_opening_balance_and_sales_count_on_the_payment_too(self, books: Books) -> None:
        customer = books.customer(opening_balance=500)
        payment, invoice = books.payment(customer, 1000), books.invoice(customer, 1000)
        sale = books.value(
            "insert into public.sales (customer_id, product_id, quantity, unit_price, total_amount,"
            " sale_type, payment_status, sale_date)"
            " select %s, id, 1, 70, 70, 'Credit', 'Pending', '2025-09-01'"
            " from public.products limit 1 returning id",
            customer,
        )
        books.run(
            "insert into public.opening_balance_payments (customer_id, payment_id, amount)"
            " values (%s, %s, 500)",
            customer,
            payment,
        )
        books.run(
            "insert into public.sales_payments (sales_id, payment_id, amount_allocated)"
            " values (%s, %s, 70)",
            sale,
            payment,
        )

        with refused("allocation_exceeds_payment") as facts:
            books.allocate(payment, {invoice: 431})
        assert facts["available"] == 430

        answer = books.allocate(payment, {invoice: 430})
        assert (answer.total_allocated, answer.unapplied_amount) == (1000, 0)
        assert books.invoice_totals(invoice) == (430, 570, "partially_paid")
        assert books.broken() == []

    def test_one_unapplied_row_stays_however_many_there_were(self, books_001: Books) -> None:
        customer = books_001.customer()
        payment, invoice = books_001.payment(customer, 800), books_001.invoice(customer, 1000)
        for amount, reason in ((800, "paid in advance"), (33, "left over by mistake")):
            books_001.run(
                "insert into public.unapplied_payments"
                " (customer_id, payment_id, amount_unapplied, reason, created_at)"
                " values (%s, %s, %s, %s, clock_timestamp())",
                customer,
                payment,
                amount,
                reason,
            )

        books_001.allocate(payment, {invoice: 300})

        assert books_001.rows(
            "select amount_unapplied, reason from public.unapplied_payments where payment_id = %s",
            payment,
        ) == [(500, "paid in advance")]


def test_the_credit_sales_of_an_invoice_are_settled_with_it(books_001: Books) -> None:
    customer = books_001.customer()
    payment, invoice = books_001.payment(customer, 200), books_001.invoice(customer, 140)
    billed, paid_by_itself = (
        books_001.value(
            "insert into public.sales (customer_id, product_id, quantity, unit_price, total_amount,"
            " sale_type, payment_status) select %s, id, 1, 70, 70, 'Credit', 'Billed'"
            " from public.products limit 1 returning id",
            customer,
        )
        for _ in range(2)
    )
    for sale in (billed, paid_by_itself):
        books_001.run(
            "insert into public.invoice_line_items (invoice_id, line_item_type, sale_id)"
            " values (%s, 'manual_sale', %s)",
            invoice,
            sale,
        )
    books_001.run(
        "insert into public.sales_payments (sales_id, payment_id, amount_allocated)"
        " values (%s, %s, 1)",
        paid_by_itself,
        payment,
    )

    def statuses() -> list[object]:
        return [
            books_001.value("select payment_status from public.sales where id = %s", sale)
            for sale in (billed, paid_by_itself)
        ]

    seen = []
    for amount in (100, 40):
        books_001.allocate(payment, {invoice: amount})
        seen.append(statuses())
    books_001.run("delete from public.invoice_payments where payment_id = %s", payment)
    seen.append(statuses())

    assert seen == [["Billed", "Billed"], ["Completed", "Completed"], ["Billed", "Completed"]]


def test_a_call_moves_updated_at_and_a_direct_write_leaves_it(books: Books) -> None:
    """The app's own statements set it themselves; a restore of the rows keeps what was."""
    customer = books.customer()
    payment = books.payment(customer, 800)
    by_itself, by_call = books.invoice(customer, 100), books.invoice(customer, 100)
    for table in ("payments", "invoice_metadata"):
        books.run(
            f"update public.{table} set updated_at = '2025-01-01' where customer_id = %s", customer
        )

    def moved() -> list[bool]:
        return [
            books.value(f"select updated_at <> '2025-01-01' from public.{table} where id = %s", row)
            for table, row in (
                ("payments", payment),
                ("invoice_metadata", by_itself),
                ("invoice_metadata", by_call),
            )
        ]

    books.allocate_directly(payment, by_itself, 10)
    assert moved() == [False, False, False]
    books.allocate(payment, {by_call: 10})
    assert moved() == [True, False, True]
