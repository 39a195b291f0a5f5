"""The application on SQLite behind a real HTTP server, and a user's view of it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from todo_backend.app import create_app
from todo_backend.settings import Settings
from waiting import eventually

SECRET = "test-secret-of-forty-three-characters-length"
PASSWORD = "correct horse battery"


class Client(httpx.Client):
    """An HTTP client of one running application."""

    app: FastAPI


@dataclass
class Account:
    """A registered user and a client that carries their token."""

    client: Client
    email: str
    token: str

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self.client.request(method, path, headers={"Authorization": f"Bearer {self.token}"}, **options)

    def say(self, message: str) -> dict[str, Any]:
        response = self.request("POST", "/chat", json={"message": message})
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def titles(self) -> list[str]:
        return [task["title"] for task in self.request("GET", "/tasks").json()]


def register(client: Client, email: str = "ann@example.com") -> Account:
    response = client.post("/auth/register", json={"email": email, "password": PASSWORD})
    assert response.status_code == 201, response.text
    return Account(client, email, response.json()["access_token"])


@contextmanager
def running(app: FastAPI) -> Iterator[Client]:
    """`app` on a free port, in a thread; stopped at the end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        with Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", trust_env=False, timeout=30) as client:
            client.app = app
            try:
                yield client
            finally:
                server.should_exit = True
                thread.join()


Serve = Callable[..., Client]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts applications with the given environment on top of a minimal one; stops them after the test."""
    with ExitStack() as stack:

        def start(wait: bool = True, **env: str) -> Client:
            defaults = {"DATABASE_URL": f"sqlite:///{tmp_path}/todo.db", "BETTER_AUTH_SECRET": SECRET}
            client = stack.enter_context(running(create_app(Settings.from_env(defaults | env))))
            if wait:
                eventually(lambda: client.get("/startup").status_code == 200)
            return client

        yield start


@pytest.fixture
def client(serve: Serve) -> Client:
    return serve()


@pytest.fixture
def ann(client: Client) -> Account:
    return register(client)
