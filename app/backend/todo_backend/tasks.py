"""What can be done with a user's tasks. Routes, chat and MCP all go through here."""

from __future__ import annotations

import uuid

from sqlalchemy import select
from sqlalchemy.orm import Session

from todo_backend.models import Task
from todo_backend.schemas import TaskIn, TaskPatch


class TaskNotFound(LookupError):
    """No task of this user has this id. Other users' tasks look the same as none at all."""


class Tasks:
    """One user's tasks, within one transaction. No method can reach another user's."""

    def __init__(self, session: Session, user_id: uuid.UUID) -> None:
        self._session = session
        self._user_id = user_id

    def all(self, completed: bool | None = None) -> list[Task]:
        """The tasks, oldest first: the order that the chat's numbers refer to."""
        query = select(Task).where(Task.user_id == self._user_id).order_by(Task.created_at, Task.id)
        if completed is not None:
            query = query.where(Task.completed == completed)
        return list(self._session.scalars(query))

    def get(self, task_id: uuid.UUID) -> Task:
        task = self._session.get(Task, task_id)
        if task is None or task.user_id != self._user_id:
            raise TaskNotFound
        return task

    def add(self, new: TaskIn) -> Task:
        """The task that now exists, with its id."""
        task = Task(user_id=self._user_id, **new.model_dump())
        self._session.add(task)
        self._session.flush()
        return task

    def change(self, task_id: uuid.UUID, patch: TaskPatch) -> Task:
        """The task with the given fields, and only those, set."""
        task = self.get(task_id)
        for name, value in patch.model_dump(exclude_unset=True).items():
            setattr(task, name, value)
        self._session.flush()
        return task

    def delete(self, task_id: uuid.UUID) -> Task:
        """The task as it was; it is gone now."""
        task = self.get(task_id)
        self._session.delete(task)
        self._session.flush()
        return task
