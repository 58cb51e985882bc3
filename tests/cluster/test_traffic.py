"""The client itself: what it may send again, and that it hides nothing."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.cluster.traffic import Client, UnexpectedAnswerError

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Inventory-Release: abc\r\n\r\n{}"
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\nX-Inventory-Release: abc\r\n\r\n{}"
CLOSE = b""


def test_a_request_on_a_closed_kept_alive_connection_is_sent_once_more() -> None:
    with server([[ANSWER, CLOSE], [ANSWER]]) as client:
        client.call("GET", "/", expect=200)
        client.call("GET", "/", expect=200)
        assert client.resent == 1


def test_a_request_on_a_fresh_connection_is_not_sent_again() -> None:
    with server([[CLOSE], [ANSWER]]) as client, pytest.raises(ConnectionError):
        client.call("GET", "/", expect=200)


def test_a_request_is_sent_again_once_only() -> None:
    with server([[ANSWER, CLOSE], [CLOSE], [ANSWER]]) as client:
        client.call("GET", "/", expect=200)
        with pytest.raises(ConnectionError):
            client.call("GET", "/", expect=200)


def test_a_refusal_is_not_sent_again() -> None:
    with server([[ANSWER, UNAVAILABLE, ANSWER]]) as client:
        client.call("GET", "/", expect=200)
        with pytest.raises(UnexpectedAnswerError, match="503 from release abc"):
            client.call("GET", "/", expect=200)


@contextmanager
def server(connections: list[list[bytes]]) -> Iterator[Client]:
    """A client of a server that gives these answers, connection by connection, and closes without one for CLOSE."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)

        def serve() -> None:
            for answers in connections:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    for answer in answers:
                        if not connection.recv(65536) or answer is CLOSE:
                            break
                        connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        client = Client(f"http://127.0.0.1:{listener.getsockname()[1]}", "shop.example")
        yield client
        client.close()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
