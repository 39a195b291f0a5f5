"""`python -m todo_backend` as a container runs it: its log, its shutdown, its exit codes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from conftest import PASSWORD, SECRET
from waiting import eventually

KEY = "sk-canary-0123456789abcdef"


@contextmanager
def process(log: Path, **env: str) -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    base = {"PATH": os.environ["PATH"], "BETTER_AUTH_SECRET": SECRET, "BACKEND_HOST": "127.0.0.1"}
    with log.open("wb") as out:
        running = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "todo_backend"],
            env=base | {"BACKEND_PORT": str(port)} | env,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        try:
            eventually(lambda: _status(client, "/health") == 200)
            yield running, client
        finally:
            running.kill()
            running.wait()


def _status(client: httpx.Client, path: str) -> int:
    try:
        return client.get(path).status_code
    except httpx.TransportError:
        return 0


def test_sigterm_drains_and_ends_well(tmp_path: Path) -> None:
    with process(tmp_path / "log", DATABASE_URL=f"sqlite:///{tmp_path}/todo.db", DRAIN_SECONDS="0.5") as (p, client):
        eventually(lambda: _status(client, "/ready") == 200)
        p.send_signal(signal.SIGTERM)
        eventually(lambda: _status(client, "/ready") == 503)
        assert _status(client, "/health") == 200  # still open: not ready comes first
        assert p.wait(10) == 0


def test_a_request_in_flight_is_finished(tmp_path: Path) -> None:
    """A slow provider holds the request open over the shutdown."""
    with socket.create_server(("127.0.0.1", 0)) as provider:
        provider.settimeout(30)
        env = {
            "DATABASE_URL": f"sqlite:///{tmp_path}/todo.db",
            "DRAIN_SECONDS": "0",
            "OPENAI_API_KEY": KEY,
            "OPENAI_BASE_URL": f"http://127.0.0.1:{provider.getsockname()[1]}",
        }
        with process(tmp_path / "log", **env) as (p, client):
            eventually(lambda: _status(client, "/ready") == 200)
            token = client.post("/auth/register", json={"email": "a@b.de", "password": PASSWORD}).json()["access_token"]
            statuses: list[int] = []

            def chat() -> None:
                headers = {"Authorization": f"Bearer {token}"}
                statuses.append(
                    client.post("/chat", json={"message": "add x"}, headers=headers, timeout=15).status_code
                )

            thread = threading.Thread(target=chat)
            thread.start()
            connection, _ = provider.accept()
            p.send_signal(signal.SIGTERM)
            with pytest.raises(subprocess.TimeoutExpired):
                p.wait(1)
            connection.close()  # the provider fails, the grammar answers
            thread.join()
            assert statuses == [200] and p.wait(10) == 0


def test_no_secret_is_logged_even_at_debug(tmp_path: Path) -> None:
    log = tmp_path / "log"
    url = "postgresql://todo:pw%40canary@127.0.0.1:9/todo"
    with process(log, DATABASE_URL=url, LOG_LEVEL="DEBUG", OPENAI_API_KEY=KEY) as (p, client):
        eventually(lambda: "waiting for the database" in client.get("/ready").text)
        client.post("/auth/login", json={"email": "a@b.de", "password": PASSWORD})
        client.get("/tasks", headers={"Authorization": f"Bearer {KEY}"})
        p.send_signal(signal.SIGINT)
        p.wait(10)
    text = log.read_text()
    assert "waiting for the database" in text and "GET /tasks" in text
    assert not [s for s in (SECRET, KEY, PASSWORD, "pw@canary", "pw%40canary") if s in text]


def test_probes_are_not_in_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with process(log, DATABASE_URL=f"sqlite:///{tmp_path}/todo.db") as (_, client):
        client.get("/nothing")
        eventually(lambda: "/nothing" in log.read_text())
    assert "/health" not in log.read_text()


def test_a_missing_setting_is_one_line_and_exit_2() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "todo_backend"], env={"PATH": os.environ["PATH"]}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (2, "todo-backend: BETTER_AUTH_SECRET is not set\n")


def test_redaction_reaches_tracebacks() -> None:
    import logging

    from todo_backend.logs import RedactingFormatter

    try:
        raise ValueError(f"cannot use {SECRET}")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "failed with %s", (SECRET,), sys.exc_info())
    text = RedactingFormatter([SECRET]).format(record)
    assert SECRET not in text and text.count("***") == 2
