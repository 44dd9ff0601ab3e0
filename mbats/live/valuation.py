"""What the account is worth at the newest prices: rates, net asset value, margin. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from functools import lru_cache

from mbats.live.orders.book import HeldTrade
from mbats.market.instrument import Instrument
from mbats.trading.conversion import route
from mbats.trading.risk.context import Quote


class Rates(Mapping[str, Decimal]):
    """Account currency for one unit of each currency, through mid prices; worked out when asked.

    A currency that no quoted pair leads to is not in it: what needs it is then denied.
    """

    def __init__(self, account_currency: str, quotes: Mapping[str, Quote]) -> None:
        self._account_currency = account_currency
        self._quotes = quotes
        self._known = {account_currency: Decimal(1)}

    def __getitem__(self, currency: str) -> Decimal:
        if currency not in self._known:
            path = _route(currency, self._account_currency, tuple(self._quotes))
            if path is None:
                raise KeyError(currency)
            self._known[currency] = _along(currency, path, self._quotes)
        return self._known[currency]

    def __iter__(self) -> Iterator[str]:
        quoted = {part for name in self._quotes for part in name.rsplit("_", 1)}
        return (name for name in sorted(quoted | self._known.keys()) if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


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
