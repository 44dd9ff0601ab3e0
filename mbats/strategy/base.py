"""What the desk adds to any ``bt.Strategy``, in backtests, paper and live alike.

A quant writes a plain ``bt.Strategy``. :func:`on_the_desk` makes the class that runs: brackets
without a size are sized by the sizer (which sees the stop), an order without a valid size is
refused with a named reason instead of failing, and each strategy sees its own positions.
"""

from types import new_class
from typing import Any

import backtrader as bt


class DeskStrategy(bt.Strategy):  # type: ignore[misc]
    """The part that is mixed into every strategy on the desk."""

    def _notify(self, *args: Any, **kwargs: Any) -> None:
        self.broker.acting = self._id
        super()._notify(*args, **kwargs)

    def _stop(self) -> None:
        self.broker.acting = self._id
        super()._stop()

    def buy(self, data: Any = None, size: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Buy; backtrader's arguments. None where the sizer finds no valid size."""
        data = self._data(data)
        size = self._sized(data, True, None) if size is None else size
        return super().buy(data, size, *args, **kwargs) if size else None

    def sell(self, data: Any = None, size: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Sell; backtrader's arguments. None where the sizer finds no valid size."""
        data = self._data(data)
        size = self._sized(data, False, None) if size is None else size
        return super().sell(data, size, *args, **kwargs) if size else None

    def buy_bracket(self, data: Any = None, size: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Buy with stop and limit; backtrader's arguments. Three None where there is no size."""
        data = self._data(data)
        size = self._bracket_size(data, True, *args, **kwargs) if size is None else size
        sent = super().buy_bracket(data, size, *args, **kwargs) if size else None
        return sent or [None, None, None]

    def sell_bracket(self, data: Any = None, size: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Sell with stop and limit; backtrader's arguments. Three None where there is no size."""
        data = self._data(data)
        size = self._bracket_size(data, False, *args, **kwargs) if size is None else size
        sent = super().sell_bracket(data, size, *args, **kwargs) if size else None
        return sent or [None, None, None]

    def _bracket_size(
        self,
        data: Any,
        is_buy: bool,
        price: float | None = None,
        *_: Any,
        stopprice: float | None = None,
        **__: Any,
    ) -> float:
        entry = price or data.close[0]
        return self._sized(data, is_buy, None if stopprice is None else abs(entry - stopprice))

    def _data(self, data: Any) -> Any:
        if isinstance(data, str):
            return self.getdatabyname(data)
        return self.data if data is None else data

    def _sized(self, data: Any, is_buy: bool, stop_distance: float | None) -> float:
        """Ask the sizer, telling it the distance of the stop; a size of zero is kept as refused."""
        sizer = self.getsizer()
        sizer.stop_distance, sizer.refusal = stop_distance, None
        try:
            size = abs(self.getsizing(data, isbuy=is_buy))
        finally:
            sizer.stop_distance = None
        if not size:
            self.broker.refuse_size(self, data, is_buy, sizer.refusal or "size_is_zero")
        return float(size)


def on_the_desk(strategy: type[bt.Strategy]) -> type[bt.Strategy]:
    """Return the class that runs ``strategy`` on the desk, under the same name."""
    about = {"__module__": __name__, "__doc__": strategy.__doc__}
    return new_class(
        strategy.__name__, (DeskStrategy, strategy), exec_body=lambda d: d.update(about)
    )
