"""rollback_partial_allocation: an allocation that came to no end is undone, and nothing else."""

from uuid import UUID

import pytest

from dairy.books import Books, refused
from dairy.settling import Settling
from dairy.stages import first_and_last
from dairy.undoing import KEY, roll_back, unallocate, void
from support.databases import Database

database = first_and_last("dairy_002")


@pytest.fixture
def books(database: Database) -> Books:
    """The books with the gap fixed, kept by the owner; every statement commits."""
    return Books(database.connect(autocommit=True))


@pytest.fixture
def payment(books: Books) -> UUID:
    """A payment of 800."""
    return books.payment(books.customer(), 800)


def invoice_for(books: Books, payment: UUID, total: int = 1000) -> UUID:
    """An invoice of the payment's customer."""
    customer = books.value("select customer_id from public.payments where id = %s", payment)
    assert isinstance(customer, UUID)
    return books.invoice(customer, total)


def outcome(books: Books, key: str) -> tuple[object, ...]:
    return books.rows("select outcome, function_name from public.request_outcome(%s)", key)[0]


def age_the_journal(books: Books, minutes: int) -> None:
    """Make everything that was journaled older; only the owner can."""
    table = "private.allocation_journal"
    books.run(f"alter table {table} disable trigger refuse_change")
    books.run(f"update {table} set at = at - make_interval(mins => %s)", minutes)
    books.run(f"alter table {table} enable trigger refuse_change")


class TestWithoutAKey:
    """What the app's own calls left behind half-done comes off; what an RPC committed stays."""

    def test_two_legacy_rows_of_500_together(self, books: Books, payment: UUID) -> None:
        one, two = invoice_for(books, payment), invoice_for(books, payment)
        books.allocate_directly(payment, one, 300)
        books.allocate_directly(payment, two, 200)

        assert roll_back(books, payment) == (True, 2, 500, True)

        assert books.allocations(payment) == {}
        assert books.payment_totals(payment) == (0, 800, "unapplied")
        assert books.invoice_totals(one) == (0, 1000, "sent")
        assert books.unapplied(payment) == [800]
        assert books.broken() == []
        assert roll_back(books, payment) == (True, 0, 0, False)

    def test_the_compensation_leaves_what_was_made_days_before(
        self, books: Books, payment: UUID
    ) -> None:
        """The regression: it wiped every allocation of the payment, however old."""
        old, new = invoice_for(books, payment), invoice_for(books, payment)
        books.allocate_directly(payment, old, 300)
        age_the_journal(books, 15)
        books.allocate_directly(payment, new, 200)

        assert roll_back(books, payment) == (True, 1, 200, False)

        assert books.allocations(payment) == {old: 300}

    def test_a_row_of_before_the_gaps_stays(self, books: Books, payment: UUID) -> None:
        """What is not in the journal was made before it began, or comes from a restore."""
        invoice = invoice_for(books, payment)
        books.run(
            "insert into public.invoice_payments (payment_id, invoice_id, amount_allocated,"
            " created_at) values (%s, %s, 300, now() - interval '1 minute')",
            payment,
            invoice,
        )
        assert roll_back(books, payment).removed_amount == 0

    @pytest.mark.parametrize("made", ["clock_timestamp()", "now() - interval '1 day'", "null"])
    @pytest.mark.parametrize("role", ["authenticated", "service_role"])
    def test_a_row_that_the_app_dates_itself_comes_off_like_any_other(
        self, database: Database, books: Books, payment: UUID, role: str, made: str
    ) -> None:
        """The regression: `created_at: new Date()` made the app's insert pass for a restore's."""
        one, two = invoice_for(books, payment), invoice_for(books, payment)
        somebody = Books(database.connect(role=role, autocommit=True))
        somebody.run(
            "insert into public.invoice_payments (invoice_id, payment_id, amount_allocated,"
            f" created_at) values (%s, %s, 40, {made}), (%s, %s, 60, default)",
            one,
            payment,
            two,
            payment,
        )
        journal = "select amount_change, recorded_by from private.allocation_journal order by 1"
        assert books.rows(journal) == [(40, role), (60, role)]
        assert roll_back(books, payment) == (True, 2, 100, True)

    def test_an_old_row_that_was_raised_directly_stays(self, books: Books, payment: UUID) -> None:
        """No half-done series of the app's calls raises a row; somebody corrected it."""
        invoice = invoice_for(books, payment)
        books.allocate_directly(payment, invoice, 300)
        age_the_journal(books, 60)
        books.run(
            "update public.invoice_payments set created_at = now() - interval '1 hour',"
            " amount_allocated = 350"
        )
        assert roll_back(books, payment).removed_amount == 0

    def test_what_an_rpc_committed_stays(self, books: Books, payment: UUID) -> None:
        """The regression: a time-out made the app undo an allocation that was made after all."""
        invoice = invoice_for(books, payment)
        books.allocate(payment, {invoice: 300})

        assert roll_back(books, payment) == (True, 0, 0, False)

        assert books.allocations(payment) == {invoice: 300}

    def test_of_a_pair_that_both_made_only_the_direct_part_comes_off(
        self, books: Books, payment: UUID
    ) -> None:
        invoice = invoice_for(books, payment)
        books.allocate(payment, {invoice: 300})
        books.run("update public.invoice_payments set amount_allocated = 450")
        books.allocate(payment, {invoice: 100})

        assert roll_back(books, payment) == (True, 1, 150, False)

        assert books.allocations(payment) == {invoice: 400}
        assert roll_back(books, payment).removed_amount == 0
        assert books.broken() == []

    def test_a_top_up_of_a_direct_row_stays(self, books: Books, payment: UUID) -> None:
        invoice = invoice_for(books, payment)
        books.allocate_directly(payment, invoice, 300)
        books.allocate(payment, {invoice: 100})

        assert roll_back(books, payment) == (True, 1, 300, False)

        assert books.allocations(payment) == {invoice: 100}

    def test_a_direct_part_that_is_gone_already_is_not_taken_from_an_rpcs(
        self, books: Books, payment: UUID
    ) -> None:
        """Both were taken off; what an RPC made anew is all that is there."""
        invoice = invoice_for(books, payment)
        books.allocate_directly(payment, invoice, 200)
        unallocate(books, payment)
        books.allocate(payment, {invoice: 300})

        assert roll_back(books, payment).removed_amount == 0

        assert books.allocations(payment) == {invoice: 300}

    def test_what_was_there_before_and_went_has_no_claim(self, books: Books, payment: UUID) -> None:
        """The pair's row came to zero in between: only what came since is counted."""
        invoice, other = invoice_for(books, payment), invoice_for(books, payment)
        books.allocate(payment, {invoice: 300})
        unallocate(books, payment)
        books.allocate_directly(payment, invoice, 100)
        books.allocate(payment, {other: 50})
        books.run("delete from public.invoice_payments where invoice_id = %s", other)
        books.allocate_directly(payment, other, 70)

        assert roll_back(books, payment) == (True, 2, 170, True)

    def test_a_direct_row_that_was_lowered_comes_off_as_far_as_it_is_there(
        self, books: Books, payment: UUID
    ) -> None:
        invoice = invoice_for(books, payment)
        books.allocate_directly(payment, invoice, 300)
        books.run("update public.invoice_payments set amount_allocated = 120")
        assert roll_back(books, payment) == (True, 1, 120, True)

    def test_other_payments_are_left_alone(self, books: Books, payment: UUID) -> None:
        invoice = invoice_for(books, payment)
        other = books.payment(
            books.value("select customer_id from public.payments where id = %s", payment), 500
        )
        books.allocate_directly(payment, invoice, 300)
        books.allocate_directly(other, invoice, 200)

        roll_back(books, payment)

        assert books.allocations(other) == {invoice: 200}
        assert books.invoice_totals(invoice) == (200, 800, "partially_paid")

    def test_it_is_journaled_as_what_it_is(self, books: Books, payment: UUID) -> None:
        books.allocate_directly(payment, invoice_for(books, payment), 300)
        roll_back(books, payment)
        assert books.rows(
            "select amount_change, call_id is not null, reason from private.allocation_journal"
            " order by id"
        ) == [(300, False, None), (-300, True, "rolled back")]

    def test_the_app_as_it_is_calls_it_as_its_role(self, database: Database) -> None:
        app = Books(database.connect(role="authenticated", autocommit=True))
        payment = app.payment(app.customer(), 800)
        invoice = invoice_for(app, payment)
        app.allocate_directly(payment, invoice, 300)
        with refused("allocation_exceeds_payment"):
            app.allocate(payment, {invoice: 900})
        assert roll_back(app, payment) == (True, 1, 300, True)


class TestWithAKey:
    """The key names the call to undo."""

    def test_exactly_that_call_is_undone(self, books: Books, payment: UUID) -> None:
        invoice, other = invoice_for(books, payment), invoice_for(books, payment)
        books.allocate_directly(payment, invoice, 10)
        books.allocate(payment, {invoice: 100})
        books.setting(KEY, "timed out")
        books.allocate(payment, {invoice: 200, other: 50})

        assert roll_back(books, payment) == (True, 2, 250, False)

        assert books.allocations(payment) == {invoice: 110}
        assert books.unapplied(payment) == [690]
        assert outcome(books, "timed out") == ("undone", "allocate_payment_atomic")
        assert books.broken() == []

    def test_the_original_that_arrives_late_is_refused(self, books: Books, payment: UUID) -> None:
        invoice = invoice_for(books, payment)
        books.setting(KEY, "timed out")
        books.allocate(payment, {invoice: 200})
        roll_back(books, payment)

        with refused("request_undone", status=409):
            books.allocate(payment, {invoice: 200})

        assert books.allocations(payment) == {}

    def test_the_same_rollback_gets_the_same_answer(self, books: Books, payment: UUID) -> None:
        """Its answer can be lost like that of any other call."""
        invoice = invoice_for(books, payment)
        books.setting(KEY, "timed out")
        books.allocate(payment, {invoice: 200})
        first = roll_back(books, payment)
        books.setting(KEY, "")
        books.allocate(payment, {invoice: 70})
        books.setting(KEY, "timed out")

        assert roll_back(books, payment) == first == (True, 1, 200, True)

        assert books.allocations(payment) == {invoice: 70}

    def test_an_unknown_key_is_tombstoned(self, books: Books, payment: UUID) -> None:
        invoice = invoice_for(books, payment)
        books.allocate_directly(payment, invoice, 10)
        books.setting(KEY, "on its way")

        assert roll_back(books, payment) == (True, 0, 0, False)
        assert roll_back(books, payment) == (True, 0, 0, False)

        with refused("request_undone", status=409) as facts:
            books.allocate(payment, {invoice: 200})
        assert facts["key"] == "on its way"
        assert outcome(books, "on its way") == ("undone", "rollback_partial_allocation")
        assert books.allocations(payment) == {invoice: 10}

    def test_a_tombstone_lasts_as_long_as_a_key(self, books: Books, payment: UUID) -> None:
        invoice = invoice_for(books, payment)
        books.setting(KEY, "on its way")
        roll_back(books, payment)
        books.run("update private.request_keys set recorded_at = now() - interval '30 days'")
        assert books.allocate(payment, {invoice: 200}).allocated_amount == 200
        assert roll_back(books, payment).removed_amount == 200
        with refused("request_undone"):
            books.allocate(payment, {invoice: 200})

    def test_a_refused_original_left_no_key_and_is_tombstoned(
        self, books: Books, payment: UUID
    ) -> None:
        invoice = invoice_for(books, payment)
        books.setting(KEY, "too much")
        with refused("allocation_exceeds_payment"):
            books.allocate(payment, {invoice: 900})
        assert roll_back(books, payment).removed_amount == 0
        with refused("request_undone"):
            books.allocate(payment, {invoice: 100})

    def test_what_others_put_there_later_stays(self, books: Books, payment: UUID) -> None:
        """The call's own part was taken off and another call's came: that one is not the call's."""
        invoice = invoice_for(books, payment)
        books.setting(KEY, "first")
        books.allocate(payment, {invoice: 300})
        books.setting(KEY, "")
        unallocate(books, payment, [invoice])
        books.allocate(payment, {invoice: 250})
        books.setting(KEY, "first")

        assert roll_back(books, payment) == (True, 0, 0, False)

        assert books.allocations(payment) == {invoice: 250}

    def test_of_a_row_that_was_lowered_since_the_others_parts_stay(
        self, books: Books, payment: UUID
    ) -> None:
        invoice = invoice_for(books, payment)
        books.setting(KEY, "first")
        books.allocate(payment, {invoice: 300})
        books.setting(KEY, "")
        books.allocate(payment, {invoice: 200})
        books.run("update public.invoice_payments set amount_allocated = 250")
        books.setting(KEY, "first")

        assert roll_back(books, payment) == (True, 1, 50, False)

        assert books.allocations(payment) == {invoice: 200}

    def test_the_key_of_another_payment_is_refused(self, books: Books, payment: UUID) -> None:
        invoice = invoice_for(books, payment)
        other = books.payment(books.customer(), 100)
        books.setting(KEY, "mine")
        books.allocate(payment, {invoice: 200})
        with refused("key_of_another_payment", status=409) as facts:
            roll_back(books, other)
        assert facts == {"key": "mine", "payment_id": str(other)}
        assert books.allocations(payment) == {invoice: 200}
        assert outcome(books, "mine")[0] == "done"

    def test_a_tombstone_belongs_to_its_payment(self, books: Books, payment: UUID) -> None:
        books.setting(KEY, "on its way")
        roll_back(books, payment)
        with refused("key_of_another_payment", status=409):
            roll_back(books, books.payment(books.customer(), 100))

    def test_a_key_of_calls_of_several_payments_undoes_each_by_itself(
        self, dairy_hardened: Database
    ) -> None:
        """What is undone of one is not undone of the other, and each answer is kept."""
        books = Settling(dairy_hardened.connect(autocommit=True))
        one, two, three = (books.payment(books.customer(), 100) for _ in range(3))
        invoices = [invoice_for(books, each, 300) for each in (one, two, three)]
        books.setting(KEY, "all of a day")
        books.allocate(one, {invoices[0]: 60})
        answered = books.auto(two)
        books.record(customer_id=str(books.customer()), amount=5, payment_date="2025-09-10")

        assert roll_back(books, one) == (True, 1, 60, True)
        assert outcome(books, "all of a day") == ("done", "record_payment_atomic")
        with refused("request_undone"):
            books.allocate(one, {invoices[0]: 60})
        assert books.auto(two) == answered
        with refused("request_undone"):  # which never came before
            books.pay_opening(two, books.customer(), 1)

        for _ in range(2):
            assert roll_back(books, two) == (True, 1, 100, True)
            assert roll_back(books, one) == (True, 1, 60, True)
        with refused("request_undone"):
            books.auto(two)
        with refused("key_of_another_payment"):
            roll_back(books, three)

    @pytest.mark.parametrize("call", [unallocate, void])
    def test_the_key_of_a_call_that_allocates_nothing_is_refused(
        self, books: Books, payment: UUID, call: object
    ) -> None:
        assert callable(call)
        books.setting(KEY, "not an allocation")
        call(books, payment)
        with refused("key_not_undoable", status=409):
            roll_back(books, payment)
        assert outcome(books, "not an allocation")[0] == "done"

    def test_another_callers_key_is_unknown(
        self, database: Database, books: Books, payment: UUID
    ) -> None:
        invoice = invoice_for(books, payment)
        clerks = [Books(database.connect(role="authenticated", autocommit=True)) for _ in range(2)]
        for number, clerk in enumerate(clerks):
            clerk.setting("request.jwt.claims", f'{{"sub": "{UUID(int=number)}"}}')
            clerk.setting(KEY, "the same")
        clerks[0].allocate(payment, {invoice: 200})

        assert roll_back(clerks[1], payment).removed_amount == 0

        assert books.allocations(payment) == {invoice: 200}
        assert outcome(clerks[0], "the same")[0] == "done"
        assert roll_back(clerks[0], payment).removed_amount == 200

    def test_the_header_that_postgrest_shows_is_the_key(self, books: Books, payment: UUID) -> None:
        books.setting("request.headers", '{"idempotency-key": "from the header"}')
        books.allocate(payment, {invoice_for(books, payment): 100})
        assert roll_back(books, payment) == (True, 1, 100, True)

    def test_after_the_payment_was_voided_there_is_nothing_to_undo(
        self, books: Books, payment: UUID
    ) -> None:
        books.setting(KEY, "first")
        books.allocate(payment, {invoice_for(books, payment): 100})
        books.setting(KEY, "")
        void(books, payment)
        books.setting(KEY, "first")
        assert roll_back(books, payment) == (True, 0, 0, False)
        assert books.payment_totals(payment) == (0, 0, "unapplied")

    def test_a_key_that_cannot_be_kept_is_refused(self, books: Books, payment: UUID) -> None:
        books.setting(KEY, " ")
        with refused("idempotency_key_invalid", status=400):
            roll_back(books, payment)


def test_unknown_payments_are_not_found(books: Books) -> None:
    with refused("payment_not_found", status=404) as facts:
        roll_back(books, UUID(int=1))
    assert facts == {"payment_id": str(UUID(int=1))}
    with refused("payment_required", status=400):
        roll_back(books, None)


def test_a_paid_invoice_bills_its_sales_again(books: Books, payment: UUID) -> None:
    invoice = invoice_for(books, payment, 100)
    sale = books.value(
        "insert into public.sales (customer_id, product_id, quantity, unit_price, total_amount,"
        " sale_type, payment_status) select p.customer_id, r.id, 1, 100, 100, 'Credit', 'Billed'"
        " from public.payments as p cross join (select id from public.products limit 1) as r"
        " where p.id = %s returning id",
        payment,
    )
    books.run(
        "insert into public.invoice_line_items (invoice_id, line_item_type, sale_id, quantity,"
        " unit_price, line_total) values (%s, 'manual_sale', %s, 1, 100, 100)",
        invoice,
        sale,
    )
    status = "select payment_status from public.sales where id = %s"
    books.allocate_directly(payment, invoice, 100)
    assert books.value(status, sale) == "Completed"
    roll_back(books, payment)
    assert books.value(status, sale) == "Billed"
    assert books.invoice_totals(invoice) == (0, 100, "sent")
