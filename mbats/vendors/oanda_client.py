"""One polite way to read from OANDA: paced, retried, and with errors that say what to do.

Only GETs go through here: repeating them is safe. Orders never do. The client is oandapyV20; what
it raises, and what it hides, was measured: it has no default timeout, an error carries only the
status and the raw body (which may be HTML), and a 200 with HTML raises a JSON error.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import requests
from oandapyV20 import API, V20Error
from oandapyV20.endpoints.apirequest import APIRequest
from oandapyV20.oandapyV20 import TRADING_ENVIRONMENTS

from mbats.config import Settings
from mbats.errors import ConfigError, DataError, MbatsError, NotReadyError

CONNECT_SECONDS, READ_SECONDS = 3.05, 30.0
# OANDA allows 120 requests a second from one address and advises 100.
REQUESTS_PER_SECOND = 100


@dataclass(frozen=True)
class Backoff:
    """How often a failed GET is repeated: waits of ``first_s``, doubled, up to ``longest_s``."""

    attempts: int = 6
    first_s: float = 0.5
    longest_s: float = 15.0

    def wait_s(self, failures: int) -> float:
        """Return how long to wait after the ``failures``-th failure (from 1), in seconds."""
        return float(min(self.first_s * 2 ** (failures - 1), self.longest_s))


class OandaReader:
    """GETs through one oandapyV20 session; not for several threads at once."""

    def __init__(
        self,
        api: API,
        *,
        address: str,
        backoff: Backoff | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read through ``api``; ``sleep`` and ``clock`` take and give seconds."""
        self._api = api
        self._address = address
        self._backoff = backoff or Backoff()
        self._sleep = sleep
        self._clock = clock
        self._next_at = clock()

    def get(self, make: Callable[[], APIRequest], what: str) -> dict[str, Any]:
        """Return the parsed answer to the request that ``make`` builds; repeat what may pass.

        ``what`` names what is asked for, in errors.

        Repeated: 429, 5xx, timeouts, broken connections, answers that are not JSON. Raises
        :class:`NotReadyError` when the attempts are used up, :class:`ConfigError` for 401 and
        403, :class:`DataError` for any other refusal.
        """
        tried: list[str] = []
        while True:
            self._pace()
            try:
                answer: dict[str, Any] = self._api.request(make())
                return answer
            except V20Error as error:
                if error.code != 429 and error.code < 500:
                    raise refusal(error, what, self._address) from error
                tried.append(f"HTTP {error.code}: {_said(error.msg)}")
            except requests.RequestException as error:
                tried.append(f"{type(error).__name__}: {_short(str(error))}")
            except (json.JSONDecodeError, UnicodeDecodeError):
                tried.append("an answer that is not JSON")
            if len(tried) >= self._backoff.attempts:
                raise NotReadyError(
                    f"OANDA at {self._address} did not give {what} in {len(tried)} attempts.",
                    tried=tried,
                    mend="look whether the address is right and the service is up, then run again: "
                    "what was stored stays",
                )
            self._sleep(self._backoff.wait_s(len(tried)))

    def _pace(self) -> None:
        now = self._clock()
        if now < self._next_at:
            self._sleep(self._next_at - now)
        self._next_at = max(now, self._next_at) + 1 / REQUESTS_PER_SECOND


def refusal(error: V20Error, what: str, address: str) -> MbatsError:
    """Return what OANDA's refusal means: it stays, however often the request is repeated."""
    said = _said(error.msg)
    if error.code in (401, 403):
        return ConfigError(
            f"OANDA at {address} refused the token or the account: {said}",
            tried=[f"HTTP {error.code}"],
            mend="set MBATS_OANDA_TOKEN and MBATS_OANDA_ACCOUNT of the environment that "
            "MBATS_OANDA_ENVIRONMENT names",
        )
    return DataError(f"OANDA refused to give {what}: {said}", tried=[f"HTTP {error.code}"])


def connect(
    settings: Settings,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> OandaReader:
    """Return a reader of the OANDA that the settings name. Raises :class:`ConfigError`."""
    api = session(settings)
    address = TRADING_ENVIRONMENTS[api.environment]["api"]
    return OandaReader(api, address=address, sleep=sleep, clock=clock)


def session(settings: Settings, read_seconds: float = READ_SECONDS) -> API:
    """Return a new session with the OANDA that the settings name; nothing is sent yet.

    ``read_seconds`` is how long it may be silent. Raises :class:`ConfigError`.
    """
    environment: str = settings.oanda_environment
    if environment == "sim":
        environment = _register_simulator(settings.oanda_endpoint)
    token = settings.oanda_token.get_secret_value() if settings.oanda_token else ""
    if not token:
        if settings.oanda_environment != "sim":
            raise ConfigError(
                f"OANDA {settings.oanda_environment} needs an access token.",
                tried=["MBATS_OANDA_TOKEN in the environment"],
                mend="make a token on OANDA's site and export MBATS_OANDA_TOKEN",
            )
        token = "simulator"
    return API(
        access_token=token,
        environment=environment,
        headers={"Accept-Datetime-Format": "RFC3339"},
        request_params={"timeout": (CONNECT_SECONDS, read_seconds)},
    )


def _register_simulator(endpoint: str | None) -> str:
    """Make the simulator known to oandapyV20, whose table of addresses is global."""
    if not endpoint:
        raise ConfigError(
            "There is no OANDA simulator to read from.",
            tried=["MBATS_OANDA_ENDPOINT", "oanda_endpoint in mbats.toml"],
            mend="set MBATS_OANDA_ENDPOINT=http://host:port, or MBATS_OANDA_ENVIRONMENT=practice "
            "with a token",
        )
    name = f"sim {endpoint}"
    TRADING_ENVIRONMENTS[name] = {"api": endpoint.rstrip("/"), "stream": endpoint.rstrip("/")}
    return name


def _said(body: str) -> str:
    """Return what OANDA's error body says; the first words of a body that is not JSON."""
    try:
        message = json.loads(body)["errorMessage"]
    except (json.JSONDecodeError, KeyError, TypeError):
        return _short(body)
    return str(message)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 120 else line[:117] + "..."
