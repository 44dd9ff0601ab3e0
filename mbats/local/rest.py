"""JSON over HTTP to a service on this machine: with a time limit, no proxy, no retries."""

import http.client
import json
from typing import Any

from mbats.errors import NotReadyError
from mbats.local.ports import HOST


def answers(port: int, path: str, timeout: float = 3.0) -> bool:
    """Say whether GET ``path`` answers 200 within ``timeout`` seconds."""
    try:
        return _request(port, "GET", path, None, timeout)[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def make(port: int, method: str, path: str, body: dict[str, Any], timeout: float = 60.0) -> bool:
    """Create a resource; return False if it was there already.

    Raises :class:`NotReadyError` with the service's answer on any other outcome.
    """
    try:
        status, text = _request(port, method, path, body, timeout)
    except (OSError, http.client.HTTPException) as error:
        status, text = 0, str(error)
    if status in (200, 201):
        return True
    if status == 409:
        return False
    raise NotReadyError(
        f"A local service refused {method} {path} with status {status}.",
        tried=[f"http://{HOST}:{port}{path}", text[:300]],
        mend="mbats down && mbats up; if it stays, mbats doctor",
    )


def _request(
    port: int, method: str, path: str, body: dict[str, Any] | None, timeout: float
) -> tuple[int, str]:
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout)
    try:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        payload = json.dumps(body) if body is not None else None
        connection.request(method, path, payload, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()
