from __future__ import annotations

import uuid

import pytest

from conftest import Account, Client, register


def test_the_life_of_a_task(ann: Account) -> None:
    created = ann.request("POST", "/tasks", json={"title": "  buy milk ", "description": " "})
    assert created.status_code == 201
    task = created.json()
    assert task["title"] == "buy milk" and task["description"] is None and task["completed"] is False
    assert task["created_at"].endswith(("Z", "+00:00")) and set(task) == {
        "id", "title", "description", "completed", "created_at", "updated_at", "user_id",
    }  # fmt: skip

    path = f"/api/tasks/{task['id']}"
    changed = ann.request("PATCH", path, json={"completed": True}).json()
    assert changed["completed"] is True and changed["title"] == "buy milk"
    assert changed["updated_at"] > task["updated_at"] and changed["created_at"] == task["created_at"]
    described = ann.request("PATCH", path, json={"description": "2 litres"}).json()
    assert described["description"] == "2 litres"
    assert ann.request("PATCH", path, json={"description": None}).json()["description"] is None

    assert [t["id"] for t in ann.request("GET", "/tasks?completed=true").json()] == [task["id"]]
    assert ann.request("GET", "/tasks?completed=false").json() == []
    assert ann.request("DELETE", path).status_code == 204
    assert ann.request("GET", path).status_code == 404
    assert ann.request("DELETE", path).status_code == 404


def test_nobody_reaches_another_users_tasks(client: Client, ann: Account) -> None:
    bob = register(client, "bob@example.com")
    path = "/tasks/" + ann.request("POST", "/tasks", json={"title": "secret"}).json()["id"]
    assert bob.titles() == []
    for method, options in (("GET", {}), ("PATCH", {"json": {"title": "mine"}}), ("DELETE", {})):
        response = bob.request(method, path, **options)
        assert (response.status_code, response.json()) == (404, {"detail": "there is no such task"})
    assert ann.titles() == ["secret"]


def test_tasks_need_a_login(client: Client) -> None:
    assert client.get("/tasks").status_code == 401
    assert client.post("/chat", json={"message": "list"}).status_code == 401


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({}, "title is required"),
        ({"title": "  "}, "title must have at least 1 character(s)"),
        ({"title": "x" * 256}, "title must have at most 255 characters"),
        ({"title": "x", "description": "y" * 1001}, "description must have at most 1000 characters"),
        ({"title": "a\x00b"}, "title must not contain NUL characters"),
        ({"title": "x", "done": True}, "done is not a known field"),
    ],
)
def test_invalid_tasks_are_refused_with_the_reason(ann: Account, body: dict[str, object], detail: str) -> None:
    response = ann.request("POST", "/tasks", json=body)
    assert (response.status_code, response.json()["detail"]) == (422, detail)


@pytest.mark.parametrize("body", [{}, {"title": None}, {"completed": None}, {"title": ""}, {"id": str(uuid.uuid4())}])
def test_invalid_patches_change_nothing(ann: Account, body: dict[str, object]) -> None:
    task = ann.request("POST", "/tasks", json={"title": "same"}).json()
    assert ann.request("PATCH", f"/tasks/{task['id']}", json=body).status_code == 422
    assert ann.request("GET", f"/tasks/{task['id']}").json() == task


def test_the_longest_values_fit(ann: Account) -> None:
    response = ann.request("POST", "/tasks", json={"title": "é" * 255, "description": "y" * 1000})
    assert response.status_code == 201


def test_bodies_and_ids_that_cannot_be_read(ann: Account) -> None:
    response = ann.request(
        "POST",
        "/tasks",
        content=b"{",
    )
    assert response.status_code == 422 and "JSON" in response.json()["detail"]
    assert ann.request("GET", "/tasks/not-a-uuid").status_code == 422
