"""Asks a server for its health ten times a second and prints the seconds that each answer took, until it is ended.

In a process of its own: one that drives thirty tabs at the same time would be told of an answer late.
"""

import socket
import sys
import time

REQUEST = b"GET /_stcore/health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


def ask(port: int) -> float:
    """Seconds from the connection to the end of the answer."""
    started = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(REQUEST)
        answer = b""
        while part := connection.recv(4096):
            answer += part
    assert answer.startswith(b"HTTP/1.1 200"), answer[:100]
    return time.perf_counter() - started


if __name__ == "__main__":
    while True:
        print(ask(int(sys.argv[1])), flush=True)
        time.sleep(0.1)
