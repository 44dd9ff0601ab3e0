"""Rates between currencies through time: known steps, triangulated, never ahead of the clock.

A rate is a step function: at an instant it is the last value that was known, where a bar's close
is known at the bar's end. A currency without a pair of its own against the account currency goes
through others by the fewest pairs.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mbats.errors import DataError

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.datetime64]

_ALWAYS = np.array(["0001-01-01"], dtype="datetime64[us]")


@dataclass(frozen=True)
class StepRate:
    """A rate that steps at ``known_at`` (datetime64[us], UTC, ascending) to ``value``.

    Both have shape (steps,). ``path`` names the pairs it came from.
    """

    known_at: Times
    value: Floats
    path: tuple[str, ...] = ()

    def at(self, times: Times) -> Floats:
        """Return the last value known at each of ``times``, of their shape.

        Raises :class:`DataError` for an instant before the first value.
        """
        index = np.searchsorted(self.known_at, times, side="right") - 1
        if np.any(index < 0):
            raise DataError(
                f"No rate of {' and '.join(self.path)} is known before {self.known_at[0]}Z, "
                f"and one is needed at {np.min(times)}Z.",
                mend=f"load older daily bars, or start the run at {self.known_at[0]}Z or later",
            )
        values: Floats = self.value[index]
        return values

    def inverted(self) -> "StepRate":
        """Return the rate the other way round."""
        return StepRate(self.known_at, 1.0 / self.value, self.path)

    def times(self, other: "StepRate") -> "StepRate":
        """Return the product of two rates, known from when both are."""
        first = max(self.known_at[0], other.known_at[0])
        steps = np.union1d(self.known_at, other.known_at)
        steps = steps[steps >= first]
        return StepRate(steps, self.at(steps) * other.at(steps), self.path + other.path)


UNITY = StepRate(_ALWAYS, np.ones(1))


def route(source: str, target: str, pairs: Iterable[str]) -> tuple[str, ...] | None:
    """Return the fewest ``pairs`` (BASE_QUOTE) that lead from ``source`` to ``target``.

    Either direction of a pair will do. Among equally short routes the first in the alphabet
    wins, so that the answer does not depend on the order of ``pairs``. None if there is none.
    """
    neighbours: dict[str, list[tuple[str, str]]] = {}
    for pair in sorted(pairs):
        base, quote = pair.rsplit("_", 1)
        neighbours.setdefault(base, []).append((pair, quote))
        neighbours.setdefault(quote, []).append((pair, base))
    queue: deque[tuple[str, tuple[str, ...]]] = deque([(source, ())])
    seen = {source}
    while queue:
        currency, path = queue.popleft()
        if currency == target:
            return path
        for pair, other in neighbours.get(currency, ()):
            if other not in seen:
                seen.add(other)
                queue.append((other, (*path, pair)))
    return None


@dataclass(frozen=True)
class Conversion:
    """Rates into one account currency: ``rates[c]`` is account currency for one unit of ``c``."""

    account_currency: str
    rates: Mapping[str, StepRate]

    def rate(self, currency: str) -> StepRate:
        """Return the rate of ``currency``. Raises :class:`DataError` that lists those there are."""
        if currency == self.account_currency:
            return UNITY
        if currency not in self.rates:
            raise DataError(
                f"There is no rate from {currency} to {self.account_currency}.",
                tried=sorted(self.rates),
                mend=_load_command([f"{currency}_{self.account_currency}"]),
            )
        return self.rates[currency]


def build(
    account_currency: str,
    currencies: Iterable[str],
    pairs: Iterable[str],
    load: Callable[[str], StepRate | None],
) -> Conversion:
    """Return the rates of ``currencies`` in ``account_currency``.

    ``pairs`` are the instruments that may have daily bars; ``load`` reads one, as quote currency
    for one unit of base, or returns None where there are no bars. Only pairs on a route are
    loaded. Raises :class:`DataError` with the pairs tried and the command that loads what lacks.
    """
    available = set(pairs)
    loaded: dict[str, StepRate] = {}
    rates: dict[str, StepRate] = {}
    for currency in sorted(set(currencies) - {account_currency}):
        empty: list[str] = []
        while (path := route(currency, account_currency, available)) is not None:
            for pair in path:
                if pair not in loaded and (rate := load(pair)) is not None and len(rate.value):
                    loaded[pair] = rate
            lacking = [pair for pair in path if pair not in loaded]
            if not lacking:
                rates[currency] = _along(currency, path, loaded)
                break
            empty += lacking
            available -= set(lacking)
        else:
            raise _missing(currency, account_currency, empty)
    return Conversion(account_currency, rates)


def _along(currency: str, path: Sequence[str], loaded: Mapping[str, StepRate]) -> StepRate:
    product: StepRate | None = None
    for pair in path:
        base, quote = pair.rsplit("_", 1)
        leg = loaded[pair] if base == currency else loaded[pair].inverted()
        currency = quote if base == currency else base
        product = leg if product is None else product.times(leg)
    return UNITY if product is None else product


def _missing(currency: str, account_currency: str, empty: Sequence[str]) -> DataError:
    direct = [f"{currency}_{account_currency}", f"{account_currency}_{currency}"]
    return DataError(
        f"No daily bars lead from {currency} to {account_currency}, "
        "so profit cannot be counted in the account currency.",
        tried=[*(f"{pair} (no bars)" for pair in empty), *(p for p in direct if p not in empty)],
        mend=_load_command(direct[:1]),
    )


def _load_command(pairs: Sequence[str]) -> str:
    return f"mbats data load --instruments {','.join(pairs)} --granularity D"
