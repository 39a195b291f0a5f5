"""What the application refuses, at the addresses that browsers use."""

from __future__ import annotations

import socket
import time
from urllib.parse import urlsplit

import pytest

from tests.e2e.browser import Browser, request
from tests.e2e.project import Project

FRONTENDS = pytest.mark.parametrize("frontend", ["web", "chatbot"])


@FRONTENDS
def test_a_body_of_200_megabytes_is_refused_before_it_is_sent(urls: dict[str, str], frontend: str) -> None:
    parts = urlsplit(urls[frontend])
    for path in ("/api/tasks", "/session/login", "/"):
        with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=15) as connection:
            head = f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: 200000000\r\n\r\n"
            connection.sendall(head.encode())
            assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


@FRONTENDS
def test_a_malformed_origin_and_a_stranger_are_refused(urls: dict[str, str], frontend: str) -> None:
    asked = [
        request("POST", f"{urls[frontend]}/api/chat", {"message": "list"}, headers).status
        for headers in ({"Origin": "http://["}, {}, {"Cookie": "todo_session=nonsense"})
    ]
    assert asked == [400, 401, 401]


def test_pages_have_a_policy_with_a_nonce_of_their_own(urls: dict[str, str]) -> None:
    policies = {request("GET", f"{urls['web']}/login").headers["Content-Security-Policy"] for _ in range(2)}
    assert len(policies) == 2 and all("'nonce-" in policy and "unsafe" not in policy for policy in policies)


def test_an_account_is_closed_after_too_many_attempts(app: Project, urls: dict[str, str]) -> None:
    """Each of the two replicas counts for itself, ten attempts in five minutes."""
    credentials = {"email": f"nobody-{time.time_ns()}@example.com", "password": "not the password"}
    answers = [request("POST", f"{urls['web']}/session/login", credentials) for _ in range(21)]
    assert {answer.status for answer in answers} == {401, 429}
    assert all(int(a.headers["Retry-After"]) <= 300 for a in answers if a.status == 429)
    Browser(urls["web"]).register(f"ann-{time.time_ns()}@example.com", "correct horse battery")


def test_the_applications_database_role_is_no_superuser(app: Project) -> None:
    words = (
        'PGPASSWORD="$POSTGRES_PASSWORD" psql -h 127.0.0.1 -U "$POSTGRES_USER" "$POSTGRES_DB" -tAc "SHOW is_superuser"'
    )
    assert app.kubectl("--namespace", "default", "exec", "database-0", "--", "sh", "-c", words).strip() == "off"
