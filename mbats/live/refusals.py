"""Why the live broker refuses an order before any rule is asked: it never approximates one."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Reason:
    """A reason code, and a sentence for the docs."""

    code: str
    description: str


NOT_DECIDING = Reason("NOT_DECIDING", "The bar is of the past: the bot is still catching up.")
NO_BAR = Reason("NO_BAR", "The feed has no bar yet.")
BAD_SIZE = Reason("BAD_SIZE", "The size is not a number above zero at the instrument's precision.")
BAD_PRICE = Reason("BAD_ORDER_PRICE", "A price of the order is not a number above zero.")
UNSUPPORTED = Reason("UNSUPPORTED_ORDER", "The broker has no such order; see the detail.")
NOT_CLAIMED = Reason("NOT_CLAIMED", "The instrument belongs to no strategy, or to another one.")
NO_SIZE = Reason("NO_SIZE", "The sizer found no valid size; the detail says why.")

REASONS = (NOT_DECIDING, NO_BAR, BAD_SIZE, BAD_PRICE, UNSUPPORTED, NOT_CLAIMED, NO_SIZE)


class RefusedOrderError(Exception):
    """An order that is not to be sent."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
