"""The limits on logging in and registering."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from conftest import PASSWORD, Client, Serve, register
from test_process import process
from todo_backend.attempts import Attempts
from waiting import eventually


def _login(client: httpx.Client, email: str, password: str = "not the password", **headers: str) -> httpx.Response:
    return client.post("/auth/login", json={"email": email, "password": password}, headers=headers)


def test_an_account_is_closed_after_too_many_attempts(client: Client) -> None:
    register(client)
    assert [_login(client, "ANN@example.com").status_code for _ in range(10)] == [401] * 10
    refused = _login(client, "ann@example.com", PASSWORD)
    assert refused.status_code == 429 and 0 < int(refused.headers["retry-after"]) <= 300
    assert _login(client, "bob@example.com").status_code == 401


def test_the_owner_is_not_counted(client: Client) -> None:
    register(client)
    for _ in range(3):
        assert [_login(client, "ann@example.com").status_code for _ in range(9)] == [401] * 9
        assert _login(client, "ann@example.com", PASSWORD).status_code == 200


def test_an_address_is_refused_whatever_the_account(serve: Serve) -> None:
    client = serve(ATTEMPTS_PER_ADDRESS="5")
    for number in range(4):
        assert _login(client, f"user{number}@example.com").status_code == 401
    assert client.post("/api/auth/register", json={"email": "a@b.de", "password": PASSWORD}).status_code == 201
    refused = client.post("/auth/register", json={"email": "c@d.de", "password": PASSWORD})
    assert refused.status_code == 429 and 0 < int(refused.headers["retry-after"]) <= 60
    assert client.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("trusted", "statuses"),
    [("127.0.0.0/8", [401, 401, 429]), ("none", [401, 429, 429]), ("10.0.0.0/8", [401, 429, 429])],
)
def test_only_a_trusted_proxy_may_name_the_client(tmp_path: Path, trusted: str, statuses: list[int]) -> None:
    env = {"DATABASE_URL": f"sqlite:///{tmp_path}/todo.db", "ATTEMPTS_PER_ADDRESS": "1", "TRUSTED_PROXIES": trusted}
    with process(tmp_path / "log", **env) as (_, client):
        eventually(lambda: client.get("/ready").status_code == 200)
        answers = [
            _login(client, "a@b.de", **{"X-Forwarded-For": address}) for address in ("1.1.1.1", "2.2.2.2", "2.2.2.2")
        ]
        assert [answer.status_code for answer in answers] == statuses


def test_windows_end() -> None:
    now = [0.0]
    attempts = Attempts(2, 10, clock=lambda: now[0])
    assert [attempts.add("a"), attempts.add("a"), attempts.add("a")] == [0, 0, 10]
    now[0] = 9.0
    assert (attempts.add("a"), attempts.add("b")) == (1, 0)
    now[0] = 10.0
    assert attempts.add("a") == 0


def test_memory_is_bounded_and_the_longest_unused_key_goes_first() -> None:
    attempts = Attempts(1, 1000, capacity=3, clock=lambda: 0.0)
    for key in ["a", "b", "c", "a", "d", "a"]:
        attempts.add(key)
    assert len(attempts) == 3
    assert attempts.add("a") > 0 and attempts.add("b") == 0
