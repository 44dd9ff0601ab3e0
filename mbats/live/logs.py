"""Structured logs: one JSON object a line, with what a person searches for, and never a secret."""

import json
import logging
import sys
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

FIELDS = (
    "strategy", "instrument", "order_key", "event", "code", "trace_id", "run_id", "account",
    "source",
)  # fmt: skip
"""Fields of a record, given as ``extra``, that become fields of the line."""

CHATTY = ("oandapyV20", "urllib3", "google")
_HIDDEN = "(hidden)"


class JsonLines(logging.Formatter):
    """Formats records as Cloud Logging reads them: ``severity``, ``time``, ``message``.

    ``always`` are fields of every line, ``secrets`` texts that must not leave the process.
    """

    def __init__(self, always: Mapping[str, str], secrets: Collection[str] = ()) -> None:
        super().__init__()
        self._always = dict(always)
        self._secrets = sorted((s for s in secrets if s), key=len, reverse=True)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "severity": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **self._always,
        }
        line.update({name: getattr(record, name) for name in FIELDS if hasattr(record, name)})
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        text = json.dumps(line, default=str)
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        return text


def log_as_json(
    always: Mapping[str, str], secrets: Collection[str] = (), stream: TextIO | None = None
) -> logging.Handler:
    """Send every record of this process to ``stream`` (standard error) as JSON lines."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines(always, secrets))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    return handler
