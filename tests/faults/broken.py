"""Protocols that are wrong on purpose: the fault test must catch every one of them."""

from collections.abc import Sequence
from typing import Any

import requests
from oandapyV20 import V20Error
from oandapyV20.endpoints.orders import OrderDetails

from mbats.live.orders.ports import Answer, Outcome
from mbats.live.recovery import last_checkpoint
from mbats.trading.order import OrderIntent, parent_key
from mbats.vendors.oanda_broker import OandaBroker
from tests.faults import life


class ResendsOn404(OandaBroker):
    """The popular recipe: ask for the order by its client id, and send again on a 404."""

    def place(self, intent: OrderIntent, *, comment: str) -> Answer:
        answer = super().place(intent, comment=comment)
        if answer.outcome is not Outcome.UNKNOWN:
            return answer
        try:
            self._api.request(OrderDetails(self._account, f"@{intent.key}"))
        except V20Error as error:
            if error.code == 404:
                return super().place(intent, comment=comment)
        except (requests.RequestException, ValueError):
            return answer
        return answer


class ForgetsEvents(life.MortalEvents):
    """Says that everything is stored while it is not: checkpoints pass events that then die."""

    @property
    def unconfirmed(self) -> int:
        return 0


class TakesUnknownForRefused(OandaBroker):
    """Believes that what was not answered did not happen."""

    def place(self, intent: OrderIntent, *, comment: str) -> Answer:
        answer = super().place(intent, comment=comment)
        if answer.outcome is Outcome.UNKNOWN:
            return Answer(Outcome.REFUSED, detail=answer.detail)
        return answer


class Amnesiac(life.MortalJournal):
    """Forgets the keys of whatever is over, though a restart may decide the same again."""

    def compact(self, kept: Sequence[dict[str, Any]]) -> None:
        found = last_checkpoint(kept)
        book = None if found is None else found[0]
        held = {} if book is None else {**book.orders, **book.trades}
        claimed = {parent_key(item.client_key or "") for item in held.values()}
        super().compact([r for r in kept if "key" not in r or r["key"] in claimed])


BROKERS: dict[str, Any] = {"resend": ResendsOn404, "optimist": TakesUnknownForRefused}
EVENTS: dict[str, Any] = {"forget": ForgetsEvents}
JOURNALS: dict[str, Any] = {"amnesia": Amnesiac}
VARIANTS = (*BROKERS, *EVENTS, *JOURNALS)
