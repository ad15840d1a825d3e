"""Lines of their own between the main process and each of the others, apart from what trains."""

import os
import secrets
import socket
import sys
from multiprocessing.connection import Connection

from . import dist

CONNECT_S = 60.0


def connect_processes() -> dict[int, Connection] | None:
    """The lines of this process by the process at the other end; none on any if some can't reach each other. All
    processes must call it."""
    lines, port = {}, 0
    token = secrets.token_bytes(16)  # nobody else is let in
    if dist.is_main():
        server = socket.create_server(("", 0), backlog=dist.world_size())
        port = server.getsockname()[1]
    address, port, token = dist.gather_objects((os.environ["MASTER_ADDR"], port, token))[0]
    problem = None
    try:
        if dist.is_main():
            lines = _accepted(server, token)
        else:
            lines = {0: _line(socket.create_connection((address, port), timeout=CONNECT_S))}
            lines[0].send_bytes(token + str(dist.rank()).encode())
    except (OSError, EOFError) as error:
        problem = f"process {dist.rank()}: {error}"
    problems = [found for found in dist.gather_objects(problem) if found]
    if problems and dist.is_main():
        print(f"warning: processes can't watch each other ({problems[0]})", file=sys.stderr, flush=True)
    return None if problems else lines


def _accepted(server: socket.socket, token: bytes) -> dict[int, Connection]:
    lines: dict[int, Connection] = {}
    with server:
        server.settimeout(CONNECT_S)
        while len(lines) < dist.world_size() - 1:
            line = _line(server.accept()[0])
            greeting = line.recv_bytes(64) if line.poll(CONNECT_S) else b""
            if secrets.compare_digest(greeting[: len(token)], token):
                lines[int(greeting[len(token) :])] = line
    return lines


def _line(connected: socket.socket) -> Connection:
    connected.settimeout(None)
    return Connection(connected.detach())
