"""What an answer of OANDA's proves: one row a way it can answer, or fail to."""

import json

import pytest
import requests
from oandapyV20 import V20Error
from urllib3.exceptions import MaxRetryError, NewConnectionError, ProtocolError

from mbats.live.orders.ports import Outcome
from mbats.vendors.oanda_broker import OandaBroker

BASE = {"time": "2026-11-23T12:00:00.123456789Z", "accountID": "A"}
CANCELLED = {**BASE, "id": "1000", "type": "ORDER_CANCEL", "orderID": "999", "reason": "CLIENT"}
REJECT = {**BASE, "id": "1000", "type": "MARKET_ORDER_REJECT", "rejectReason": "UNITS_INVALID"}
NO_ORDER = {**BASE, "id": "1000", "type": "ORDER_CANCEL_REJECT", "orderID": "999"}


class Api:
    def __init__(self, answer):
        self.answer = answer
        self.sent = 0

    def request(self, endpoint):
        self.sent += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def refused(code, body):
    return V20Error(code, body if isinstance(body, str) else json.dumps(body))


def never_connected():
    return requests.ConnectionError(
        MaxRetryError(None, "/", NewConnectionError(None, "Connection refused"))
    )


CASES = {
    "a parsed success": ({"orderCancelTransaction": CANCELLED}, Outcome.DONE),
    "a success without transactions": ({"lastTransactionID": "1000"}, Outcome.UNKNOWN),
    "a success that cannot be read": ({"orderCancelTransaction": {"id": "x"}}, Outcome.UNKNOWN),
    "400 with a reject": (refused(400, {"orderRejectTransaction": REJECT}), Outcome.REFUSED),
    "400 without a reject": (refused(400, {"errorMessage": "no"}), Outcome.UNKNOWN),
    "404 with a reject": (
        refused(404, {"orderCancelRejectTransaction": NO_ORDER}),
        Outcome.REFUSED,
    ),
    "404 without a reject": (refused(404, {"errorMessage": "NO_SUCH_ORDER"}), Outcome.UNKNOWN),
    "401": (refused(401, {"errorMessage": "Insufficient authorization"}), Outcome.REFUSED),
    "403": (refused(403, "forbidden"), Outcome.REFUSED),
    "429": (refused(429, {"errorMessage": "slow down"}), Outcome.UNKNOWN),
    "502 with an HTML page": (refused(502, "<html>Bad Gateway</html>"), Outcome.UNKNOWN),
    "500 with a reject": (refused(500, {"orderRejectTransaction": REJECT}), Outcome.UNKNOWN),
    "a connection that was refused": (never_connected(), Outcome.REFUSED),
    "a connection that was cut": (
        requests.ConnectionError(ProtocolError("Connection aborted.", ConnectionResetError())),
        Outcome.UNKNOWN,
    ),
    "a time-out": (requests.ReadTimeout("read timed out"), Outcome.UNKNOWN),
    "a success oandapyV20 does not expect": (ValueError("200 != 201"), Outcome.UNKNOWN),
    "a body that is not JSON": (json.JSONDecodeError("no", "<html>", 0), Outcome.UNKNOWN),
}


@pytest.mark.parametrize("case", CASES)
def test_each_answer_proves_what_it_proves_and_is_asked_for_once(case):
    answer, expected = CASES[case]
    api = Api(answer)
    assert OandaBroker(api, None, "A", {}).cancel(999).outcome is expected
    assert api.sent == 1
