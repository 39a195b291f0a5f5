from __future__ import annotations

from pathlib import Path

import pytest

from conftest import Serve, register
from todo_backend.usage import Usage


def test_nothing_is_counted_unless_asked(serve: Serve, tmp_path: Path) -> None:
    ann = register(serve(DATA_DIR=str(tmp_path)))
    assert ann.request("GET", "/usage").json() == {"enabled": False, "counts": []}
    assert not list(tmp_path.glob("usage*"))


def test_routes_are_counted_by_pattern_and_nobody_is_named(serve: Serve, tmp_path: Path) -> None:
    client = serve(ENABLE_ANALYTICS="true", DATA_DIR=str(tmp_path))
    ann = register(client)
    for title in ("one", "two"):
        task = ann.request("POST", "/tasks", json={"title": title}).json()
    ann.request("GET", f"/api/tasks/{task['id']}")
    client.get("/health")
    client.get("/nowhere")
    answer = ann.request("GET", "/usage").json()
    assert answer["enabled"] is True
    counts = {one["route"]: one["count"] for one in answer["counts"]}
    assert counts == {"POST /auth/register": 1, "POST /tasks": 2, "GET /tasks/{task_id}": 1}
    assert (tmp_path / "usage.db").read_bytes().count(task["id"].encode()) == 0


def test_usage_is_for_users_only(serve: Serve) -> None:
    assert serve(ENABLE_ANALYTICS="true").get("/usage").status_code == 401


def test_counts_outlive_the_process_and_are_shared(tmp_path: Path) -> None:
    first, second = Usage(tmp_path), Usage(tmp_path)
    first.count("GET /tasks")
    second.count("GET /tasks")
    first.close()
    second.close()
    ((_, route, count),) = Usage(tmp_path).counts()
    assert (route, count) == ("GET /tasks", 2)


def test_a_folder_that_cannot_be_written_is_no_reason_not_to_serve(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    usage = Usage(tmp_path / "absent")
    usage.count("GET /tasks")
    assert [(route, count) for _, route, count in usage.counts()] == [("GET /tasks", 1)]
    assert "in memory only" in caplog.text
