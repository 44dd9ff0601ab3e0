"""Telling people by webhook: Slack, Telegram, and anything that turns a POST into an email.

An address is a secret (who has it can post), so no error and no log line holds one.

* Slack: an incoming webhook takes ``{"text": …}`` (https://api.slack.com/messaging/webhooks).
* Telegram: ``…/sendMessage?chat_id=…`` takes ``{"text": …}``
  (https://core.telegram.org/bots/api#sendmessage).
* Email: a gateway that takes ``{"subject": …, "text": …}``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

import requests

from mbats.errors import ConfigError, NotReadyError

SECONDS = (3.05, 10.0)
"""To connect, and to answer."""

TELEGRAM_CHARACTERS = 4_000
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_FORM = "`slack URL`, `telegram URL?chat_id=…` or `email URL`, one a line; a URL alone is Slack's"

Body = dict[str, Any]


def _slack(text: str, url: str) -> tuple[str, Body]:
    return url, {"text": text}


def _telegram(text: str, url: str) -> tuple[str, Body]:
    parts = urlsplit(url)
    chat = parse_qs(parts.query)["chat_id"][0]
    return urlunsplit(parts._replace(query="")), {
        "chat_id": chat,
        "text": text[:TELEGRAM_CHARACTERS],
        "disable_web_page_preview": True,
    }


def _email(text: str, url: str) -> tuple[str, Body]:
    return url, {"subject": f"MBATS: {text.splitlines()[0]}", "text": text}


_KINDS: dict[str, Callable[[str, str], tuple[str, Body]]] = {
    "slack": _slack,
    "telegram": _telegram,
    "email": _email,
}


@dataclass(frozen=True)
class Webhook:
    """One place to tell. ``name`` is safe to show; the address is not."""

    name: str
    kind: str
    url: str = field(repr=False)

    def post(self, text: str) -> None:
        """Tell ``text``. Raises :class:`NotReadyError` unless it was taken."""
        url, body = _KINDS[self.kind](text, self.url)
        with requests.Session() as session:
            session.trust_env = urlsplit(url).hostname not in _LOOPBACK
            try:
                answer = session.post(url, json=body, timeout=SECONDS, allow_redirects=False)
            except requests.RequestException as error:
                raise _not_taken(self.name, type(error).__name__) from None
        if answer.status_code // 100 != 2:
            raise _not_taken(self.name, f"status {answer.status_code}")


def parse_webhooks(text: str) -> Sequence[Webhook]:
    """Return the webhooks that a secret holds. Raises :class:`ConfigError` without its text."""
    found: list[Webhook] = []
    for number, line in enumerate(filter(None, map(str.strip, text.splitlines())), start=1):
        first, _, rest = line.partition(" ")
        kind, url = (first.lower(), rest.strip()) if rest else ("slack", first)
        parts = urlsplit(url)
        secure = parts.scheme == "https" or parts.hostname in _LOOPBACK
        complete = kind != "telegram" or "chat_id" in parse_qs(parts.query)
        if kind not in _KINDS or not parts.hostname or not secure or not complete:
            raise ConfigError(
                f"Line {number} of the setting notify_webhook is no webhook.",
                tried=["https, but for this machine itself", "telegram needs chat_id"],
                mend=_FORM,
            )
        found.append(Webhook(f"{kind}-{number}", kind, url))
    return found


def _not_taken(name: str, what: str) -> NotReadyError:
    return NotReadyError(
        f"The webhook {name} did not take the message.",
        tried=[what],
        mend="it is sent again until it is taken; look at the secret notify-webhook",
    )
