"""The trading state of an account as an object of the ``state`` bucket."""

from mbats.gcp.objects import Objects
from mbats.live.control import TradingOrder, decode, encode


class ControlObject:
    """``control/<account>.json``, replaced only by who has read the newest one."""

    def __init__(self, objects: Objects, account: str) -> None:
        self._objects = objects
        self._name = f"control/{account}.json"

    def read(self) -> tuple[TradingOrder, int]:
        """Return the state and its generation; active and 0 where none was ever set."""
        found = self._objects.read("state", self._name)
        return (TradingOrder(), 0) if found is None else (decode(found[0]), found[1])

    def generation(self) -> int:
        """Return the generation of the object, 0 where there is none."""
        found = self._objects.read("state", self._name)
        return 0 if found is None else found[1]

    def write(self, order: TradingOrder, generation: int) -> None:
        """Replace the object of ``generation``. Raises :class:`RefusedError` for another's."""
        self._objects.write(
            "state",
            self._name,
            encode(order),
            content_type="application/json",
            if_generation=generation,
        )
