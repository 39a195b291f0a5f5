"""Bodies over the limit and malformed Origin headers, sent byte by byte: HTTP clients would not send some of it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Iterator

import pytest

from conftest import Account, Client, Serve
from todo_backend.refusals import BODY_LIMIT, is_origin

MEGABYTE = 1024 * 1024
PATHS = ["/auth/login", "/api/tasks", "/api/chat", "/mcp", "/nowhere"]


def _send(client: Client, head: str, body: Iterable[bytes] = ()) -> tuple[int, dict[str, str], bool, int]:
    """The status, the headers (lower case), whether the server closes the connection, and the body bytes sent."""
    address = (client.base_url.host, client.base_url.port or 80)
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(f"{head}\r\nHost: x\r\n\r\n".encode("latin-1"))
        sent = 0
        for piece in body:
            try:
                connection.sendall(piece)
            except (BrokenPipeError, ConnectionResetError):
                break
            sent += len(piece)
        lines = _until_answered(connection).partition(b"\r\n\r\n")[0].decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        return int(lines[0].split()[1]), headers, headers.get("connection") == "close", sent


def _until_answered(connection: socket.socket) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(65_536)
    return received


def _chunks(megabytes: int) -> Iterator[bytes]:
    piece = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    yield from [piece] * (16 * megabytes)
    yield b"0\r\n\r\n"


@pytest.mark.parametrize("path", PATHS)
def test_an_announced_body_is_refused_before_any_of_it_is_sent(client: Client, path: str) -> None:
    status, _, closed, sent = _send(client, f"POST {path} HTTP/1.1\r\nContent-Length: {200 * MEGABYTE}")
    assert (status, closed, sent) == (413, True, 0)


@pytest.mark.parametrize("path", ["/auth/login", "/api/tasks", "/api/chat"])
def test_a_body_in_chunks_is_refused_at_the_limit(client: Client, path: str) -> None:
    head = f"POST {path} HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked"
    status, _, closed, sent = _send(client, head, _chunks(200))
    assert (status, closed) == (413, True)
    assert sent < 20 * MEGABYTE  # what the sockets between us hold


def test_mcp_refuses_a_body_in_chunks_too(client: Client, ann: Account) -> None:
    head = (
        "POST /mcp HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
        f"Accept: application/json, text/event-stream\r\nAuthorization: Bearer {ann.token}"
    )
    assert _send(client, head, _chunks(200))[0] == 413


def test_a_body_that_nobody_reads_is_not_read(client: Client) -> None:
    status, _, closed, sent = _send(client, "GET /health HTTP/1.1\r\nTransfer-Encoding: chunked", _chunks(200))
    assert (status, closed) == (200, True) and sent < 20 * MEGABYTE


def test_bodies_up_to_the_limit_are_read(client: Client, ann: Account) -> None:
    blank = json.dumps({"title": "small"}).encode().ljust(BODY_LIMIT)
    headers = {"Authorization": f"Bearer {ann.token}", "Content-Type": "application/json"}
    assert client.post("/tasks", content=blank, headers=headers).status_code == 201
    assert client.post("/tasks", content=iter([blank[:1000], blank[1000:]]), headers=headers).status_code == 201
    assert client.post("/tasks", content=blank + b" ", headers=headers).status_code == 413


def test_a_page_of_an_allowed_origin_can_read_the_refusal(serve: Serve) -> None:
    client = serve(ALLOWED_ORIGINS="http://pages.example")
    head = f"POST /tasks HTTP/1.1\r\nOrigin: http://pages.example\r\nContent-Length: {2 * MEGABYTE}"
    status, headers, _, _ = _send(client, head)
    assert (status, headers["access-control-allow-origin"]) == (413, "http://pages.example")


MALFORMED = ["http://[", "http://[::zz]", "http://a:port", "http://a:99999", "http://a/path", "a.example", "http://"]
MALFORMED += [
    "",
    "null, null",
    "http://a:0",
    "http://a b",
    "http://user@a",
    "javascript:alert(1)",
    "http://a, http://b",
]


@pytest.mark.parametrize("origin", MALFORMED)
def test_a_malformed_origin_is_a_bad_request(client: Client, ann: Account, origin: str) -> None:
    for method, path in [("GET", "/health"), ("POST", "/api/tasks")]:
        head = f"{method} {path} HTTP/1.1\r\nOrigin: {origin}\r\nCookie: todo_session={ann.token}\r\nContent-Length: 0"
        assert _send(client, head)[0] == 400
    assert not is_origin(origin)


@pytest.mark.parametrize("origin", ["null", "http://localhost:3000", "https://Todo.Example", "http://[::1]:80"])
def test_origins_that_browsers_send_are_none(client: Client, origin: str) -> None:
    assert _send(client, f"GET /health HTTP/1.1\r\nConnection: close\r\nOrigin: {origin}")[0] == 200
