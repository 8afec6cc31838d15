"""Ports for servers that have to be named before they listen."""

from __future__ import annotations

import socket


def free_port() -> int:
    """A port that nobody listens on, and that nobody else is given while this process runs.

    It stays bound. A server with SO_REUSEADDR may listen there all the same, again and again.
    """
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind(("127.0.0.1", 0))
    port = int(one.getsockname()[1])
    one.detach()  # open until the process ends
    return port
