"""Numbers, sums of money and moments as the business writes them: its language, currency and clock.

`[tool.pymilk.report]` of pyproject.toml says which (`locale = "en_IN"`, `currency = "INR"`); the
time zone is the one that the live policy's window is in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from babel.dates import format_datetime
from babel.numbers import (
    format_currency,
    format_decimal,
    get_currency_symbol,
    get_decimal_symbol,
    get_group_symbol,
    is_currency,
)

from pymilk.problem import UsageProblem
from pymilk.project.policy import Preset
from pymilk.project.project import Project

_MONEY_WITHOUT_CURRENCY = "#,##0.00"
# Vega repeats the list; longer than any number that is written out.
_GROUPS = 8


@dataclass(frozen=True)
class Wording:
    """How one business writes what it counts.

    Attributes:
        locale: Its language and country.
        currency: The three letters of its currency; none where the project names none.
        time_zone: The zone that its days begin in.
    """

    locale: Locale
    currency: str | None
    time_zone: ZoneInfo

    def money(self, amount: str | Decimal) -> str:
        """A sum of money, `₹2,60,757.00`; what is no finite number stays as it is."""
        number = as_number(amount)
        if number is None:
            return str(amount)
        # Without quantization nothing is rounded: a tenth of a paisa is what somebody must see.
        if self.currency is None:
            return format_decimal(
                number, _MONEY_WITHOUT_CURRENCY, locale=self.locale, decimal_quantization=False
            )
        return format_currency(
            number, self.currency, locale=self.locale, decimal_quantization=False
        )

    def number(self, value: object) -> str:
        """A number, with its digits grouped; what is none stays as it is."""
        number = as_number(str(value))
        if number is None:
            return str(value)
        return format_decimal(number, locale=self.locale, decimal_quantization=False)

    def moment(self, moment: datetime) -> str:
        """A moment, to the minute, by the business's clock."""
        return self._moment(moment, "EEE d MMM y, HH:mm")

    def clock(self, moment: datetime) -> str:
        """The time of day alone, to the second."""
        return self._moment(moment, "HH:mm:ss")

    def _moment(self, moment: datetime, pattern: str) -> str:
        return format_datetime(moment, pattern, tzinfo=self.time_zone, locale=self.locale)

    @staticmethod
    def seconds(seconds: float) -> str:
        """How long something took."""
        if seconds >= _MINUTE:
            minutes, rest = divmod(round(seconds), _MINUTE)
            return f"{minutes} min {rest} s"
        return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"

    def numbers_of_charts(self) -> Mapping[str, object]:
        """The same for Vega's axes: a d3 number locale."""
        primary, secondary = self.locale.decimal_formats[None].grouping
        symbol = get_currency_symbol(self.currency, self.locale) if self.currency else ""
        before = self.locale.currency_formats["standard"].pattern.startswith("\u00a4")
        return {
            "decimal": get_decimal_symbol(self.locale),
            "thousands": get_group_symbol(self.locale),
            "grouping": [primary, *[secondary] * _GROUPS],
            "currency": [symbol, ""] if before else ["", f"\u00a0{symbol}"],
        }


_MINUTE = 60
_LONGEST_NUMBER = 30


def as_number(text: str | Decimal) -> Decimal | None:
    """A finite number, or none: a column may hold NaN, and a key may be a word."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number.adjusted()) < _LONGEST_NUMBER else None


def wording_of(project: Project) -> Wording:
    """How a project's business writes, from its pyproject.toml.

    Raises:
        UsageProblem: It names no language, no currency, or something else.
    """
    said = project.settings.get("report", {})
    unknown = (
        sorted(set(said) - {"locale", "currency"}) if isinstance(said, Mapping) else ["report"]
    )
    if not isinstance(said, Mapping) or unknown:
        raise _unclear(f"{unknown[0]} is no setting of it")
    locale, currency = str(said.get("locale", "en")), said.get("currency")
    try:
        parsed = Locale.parse(locale.replace("-", "_"))
    except (UnknownLocaleError, ValueError) as error:
        raise _unclear(f"locale = {locale!r} is no language and country") from error
    if currency is not None and not is_currency(str(currency), parsed):
        raise _unclear(f"currency = {currency!r} is no currency")
    zone = ZoneInfo(project.policy(Preset.LIVE).time_zone)
    return Wording(parsed, str(currency) if currency is not None else None, zone)


def _unclear(what: str) -> UsageProblem:
    return UsageProblem(
        f"pyproject.toml, [tool.pymilk.report]: {what}.",
        state="No database was touched.",
        todo='Write it as locale = "en_IN" and currency = "INR"; leave out what you don\'t need.',
    )
