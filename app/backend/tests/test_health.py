"""The probes in every state, on SQLite and on a database that is not there."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sqlalchemy import text

from conftest import Client, Serve
from todo_backend.database import Database
from waiting import eventually

DOWN = "postgresql://todo:pw-canary@127.0.0.1:9/todo"


@pytest.mark.parametrize("prefix", ["", "/api"])
def test_all_is_well(client: Client, prefix: str) -> None:
    for name in ("health", "startup", "ready"):
        response = client.get(f"{prefix}/{name}")
        assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_without_a_database_it_lives_and_waits(serve: Serve) -> None:
    client = serve(wait=False, DATABASE_URL=DOWN)
    eventually(lambda: "waiting for the database" in client.get("/startup").text)
    assert client.get("/health").status_code == 200
    for path in ("/startup", "/ready"):
        response = client.get(path)
        assert response.status_code == 503 and response.json()["reason"] == "waiting for the database"
    response = client.post("/auth/login", json={"email": "a@b.c", "password": "x"})
    assert (response.status_code, response.json()["detail"]) == (503, "the application is still starting")


def test_it_starts_by_itself_when_the_database_comes(serve: Serve, tmp_path: Path) -> None:
    client = serve(wait=False, DATABASE_URL=f"sqlite:///{tmp_path}/later/todo.db")
    eventually(lambda: "waiting for the database" in client.get("/startup").text)
    (tmp_path / "later").mkdir()
    eventually(lambda: client.get("/ready").status_code == 200)


def test_a_schema_that_is_gone_is_not_ready(client: Client) -> None:
    database: Database = client.app.state.database
    with database.engine.begin() as connection:
        connection.execute(text("DROP TABLE alembic_version"))
    response = client.get("/ready")
    assert (response.status_code, response.json()["reason"]) == (
        503,
        "the schema is at nothing, this version needs 0001",
    )


def test_what_the_driver_says_is_in_the_log_only(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def problem() -> None:
        raise RuntimeError('connection to server at "10.0.0.7" failed: role "canary" does not exist')

    monkeypatch.setattr(client.app.state.database, "problem", problem)
    response = client.get("/ready")
    assert (response.status_code, response.json()["reason"]) == (503, "the database cannot be asked")
    assert 'role "canary" does not exist' in caplog.text


def test_a_newer_schema_serves_an_older_version(serve: Serve) -> None:
    first = serve()
    database: Database = first.app.state.database
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert first.get("/ready").status_code == 200
    assert serve().get("/ready").status_code == 200  # and a fresh start migrates nothing


def test_a_database_that_hangs_is_told_in_time(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr("todo_backend.lifecycle.READY_TIMEOUT", 0.1)
    monkeypatch.setattr(client.app.state.database, "problem", lambda: release.wait(10) and None)
    for _ in range(3):
        assert client.get("/ready").json()["reason"] == "the database did not answer within 0.1 s"
    assert client.get("/health").status_code == 200
    release.set()
    eventually(lambda: client.get("/ready").status_code == 200)


def test_draining_is_not_ready_and_closes_connections(client: Client) -> None:
    client.app.state.lifecycle.draining = True
    response = client.get("/ready")
    assert (response.status_code, response.json()["reason"]) == (503, "shutting down")
    assert response.headers["connection"] == "close"
    assert client.get("/health").status_code == 200


def test_migrating_twice_at_once_is_harmless(tmp_path: Path) -> None:
    from sqlalchemy.engine import make_url

    database = Database(make_url(f"sqlite:///{tmp_path}/todo.db"))
    threads = [threading.Thread(target=database.migrate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert database.problem() is None
    database.close()


def test_the_migrations_make_what_the_models_say(tmp_path: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from sqlalchemy.engine import make_url

    from todo_backend.models import Base

    database = Database(make_url(f"sqlite:///{tmp_path}/todo.db"))
    database.migrate()
    with database.engine.connect() as connection:
        difference = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    database.close()
    assert difference == []
