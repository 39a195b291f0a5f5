"""A user's tasks."""

from __future__ import annotations

import uuid

from fastapi import APIRouter

from todo_backend.dependencies import DatabaseDep, PrincipalDep
from todo_backend.schemas import TaskIn, TaskOut, TaskPatch
from todo_backend.tasks import Tasks

router = APIRouter(prefix="/tasks", tags=["tasks"])


@router.get("")
def list_tasks(principal: PrincipalDep, database: DatabaseDep, completed: bool | None = None) -> list[TaskOut]:
    """The user's tasks, oldest first; only open or only completed ones if asked."""
    with database.session() as session:
        return [TaskOut.model_validate(task) for task in Tasks(session, principal.id).all(completed)]


@router.post("", status_code=201)
def create_task(new: TaskIn, principal: PrincipalDep, database: DatabaseDep) -> TaskOut:
    with database.session() as session:
        return TaskOut.model_validate(Tasks(session, principal.id).add(new))


@router.get("/{task_id}")
def get_task(task_id: uuid.UUID, principal: PrincipalDep, database: DatabaseDep) -> TaskOut:
    with database.session() as session:
        return TaskOut.model_validate(Tasks(session, principal.id).get(task_id))


@router.patch("/{task_id}")
def change_task(task_id: uuid.UUID, patch: TaskPatch, principal: PrincipalDep, database: DatabaseDep) -> TaskOut:
    """The task with the given fields set; the others are as they were."""
    with database.session() as session:
        return TaskOut.model_validate(Tasks(session, principal.id).change(task_id, patch))


@router.delete("/{task_id}", status_code=204)
def delete_task(task_id: uuid.UUID, principal: PrincipalDep, database: DatabaseDep) -> None:
    with database.session() as session:
        Tasks(session, principal.id).delete(task_id)
