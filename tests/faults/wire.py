"""What the bot under test and the world around it say to each other, over one socket pair.

The bot asks, the world answers; nothing else ever moves. So a seed replays exactly, and the world
can kill the bot between any two questions.
"""

import pickle
import socket
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(ns: int) -> datetime:
    return EPOCH + timedelta(microseconds=ns // 1000)


@dataclass(frozen=True)
class Ask:
    """One question: ``kind`` is also what kill points are counted by."""

    kind: str
    payload: Any = None


@dataclass(frozen=True)
class Reply:
    now_ns: int
    payload: Any = None


class Channel:
    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def send(self, message: Any) -> None:
        data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        self._end.sendall(struct.pack("!I", len(data)) + data)

    def receive(self) -> Any:
        """Return the next message, or None when the other side is gone."""
        head = self._exactly(4)
        if head is None:
            return None
        body = self._exactly(struct.unpack("!I", head)[0])
        return None if body is None else pickle.loads(body)

    def close(self) -> None:
        self._end.close()

    def _exactly(self, size: int) -> bytes | None:
        parts = bytearray()
        while len(parts) < size:
            try:
                part = self._end.recv(size - len(parts))
            except ConnectionResetError:
                return None
            if not part:
                return None
            parts += part
        return bytes(parts)
