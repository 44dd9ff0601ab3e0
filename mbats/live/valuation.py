"""What the account is worth at the newest prices: rates, net asset value, margin. Pure."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import lru_cache

from mbats.live.book import HeldTrade
from mbats.market.instrument import Instrument
from mbats.trading.conversion import route
from mbats.trading.risk.context import Quote


def rates(
    currencies: Iterable[str], account_currency: str, quotes: Mapping[str, Quote]
) -> dict[str, Decimal]:
    """Return account currency for one unit of each currency, through mid prices.

    A currency that no quoted pair leads to is left out: what needs it is then denied.
    """
    found = {account_currency: Decimal(1)}
    names = tuple(quotes)
    for currency in set(currencies) - {account_currency}:
        path = _route(currency, account_currency, names)
        if path is not None:
            found[currency] = _along(currency, path, quotes)
    return found


# Prices change with every tick, the ways between currencies only when a new pair is quoted.
_route = lru_cache(maxsize=4096)(route)


def _along(currency: str, path: Iterable[str], quotes: Mapping[str, Quote]) -> Decimal:
    rate = Decimal(1)
    for pair in path:
        base, quote = pair.rsplit("_", 1)
        mid = quotes[pair].mid
        rate = rate * mid if base == currency else rate / mid
        currency = quote if base == currency else base
    return rate


def unrealised(
    trades: Iterable[HeldTrade], quotes: Mapping[str, Quote], to_account: Mapping[str, Decimal]
) -> Decimal:
    """Return the profit of closing every trade now: longs at the bid, shorts at the ask.

    A trade without a price or a rate counts as nothing; the rules deny what depends on it.
    """
    total = Decimal(0)
    for trade in trades:
        quote, rate = quotes.get(trade.instrument), to_account.get(trade.instrument[-3:])
        if quote is not None and rate is not None:
            price = quote.bid if trade.units > 0 else quote.ask
            total += (price - trade.price) * trade.units * rate
    return total


def margin_used(
    positions: Mapping[str, Decimal],
    instruments: Mapping[str, Instrument],
    to_account: Mapping[str, Decimal],
) -> Decimal:
    """Return the margin that the positions hold, in account currency."""
    return sum(
        (
            abs(units)
            * to_account.get(name.rsplit("_", 1)[0], Decimal(0))
            * instruments[name].margin_rate
            for name, units in positions.items()
            if name in instruments
        ),
        Decimal(0),
    )
