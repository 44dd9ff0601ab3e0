"""Ports on the loopback interface."""

import socket
from collections.abc import Collection

HOST = "127.0.0.1"


def is_free(port: int) -> bool:
    """Say whether nobody listens on the port and it can be bound."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        if probe.connect_ex((HOST, port)) == 0:
            return False
    with socket.socket() as probe:
        # A server that just ended leaves connections behind that only this option overlooks.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def choose(wanted: Collection[int], taken: Collection[int]) -> int:
    """Return the first free port of ``wanted``, else any free one; none of ``taken``."""
    for port in wanted:
        if port not in taken and is_free(port):
            return port
    while True:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port = int(probe.getsockname()[1])
        if port not in taken:
            return port
