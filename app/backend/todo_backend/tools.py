"""The task tools: one table that OpenAI, Cohere and MCP clients are all offered."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from todo_backend.database import Database
from todo_backend.errors import describe
from todo_backend.schemas import OptionalDescription, TaskIn, TaskOut, TaskPatch, Title
from todo_backend.tasks import TaskNotFound, Tasks


class ToolError(Exception):
    """The call cannot be done; the message is meant for whoever made it."""


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AddTask(_Arguments):
    title: Title = Field(description="What is to be done, at most 255 characters")
    description: OptionalDescription = Field(None, description="More about it, at most 1000 characters")


class ListTasks(_Arguments):
    completed: bool | None = Field(None, description="true: only completed tasks; false: only open ones")


class CompleteTask(_Arguments):
    task_id: uuid.UUID = Field(description="The task's id, as list_tasks shows it")
    completed: bool = Field(True, description="false opens the task again")


class DeleteTask(_Arguments):
    task_id: uuid.UUID = Field(description="The task's id, as list_tasks shows it")


@dataclass(frozen=True)
class Tool:
    """A named operation, its JSON schema, and how it is carried out."""

    name: str
    description: str
    arguments: type[_Arguments]
    run: Callable[[Tasks, Any], list[TaskOut]]
    past_tense: str

    @property
    def schema(self) -> dict[str, Any]:
        return self.arguments.model_json_schema()


def _out(*tasks: object) -> list[TaskOut]:
    return [TaskOut.model_validate(task) for task in tasks]


TOOLS = {
    tool.name: tool
    for tool in (
        Tool(
            "add_task",
            "Add a task to the user's list",
            AddTask,
            lambda tasks, a: _out(tasks.add(TaskIn(title=a.title, description=a.description))),
            "Added",
        ),
        Tool(
            "list_tasks",
            "List the user's tasks, oldest first",
            ListTasks,
            lambda tasks, a: _out(*tasks.all(a.completed)),
            "Listed",
        ),
        Tool(
            "complete_task",
            "Mark a task as done, or as open again",
            CompleteTask,
            lambda tasks, a: _out(tasks.change(a.task_id, TaskPatch(completed=a.completed))),
            "Updated",
        ),
        Tool(
            "delete_task",
            "Delete a task for good",
            DeleteTask,
            lambda tasks, a: _out(tasks.delete(a.task_id)),
            "Deleted",
        ),
    )
}


def call(database: Database, user_id: uuid.UUID, name: str, arguments: object) -> list[TaskOut]:
    """The tasks that the call touched or found, in a transaction of its own; ToolError when it cannot be done."""
    tool = TOOLS.get(name)
    if tool is None:
        raise ToolError(f"there is no tool named {name}")
    try:
        parsed = tool.arguments.model_validate(arguments)
        with database.session() as session:
            return tool.run(Tasks(session, user_id), parsed)
    except ValidationError as error:
        raise ToolError(describe(error.errors())) from error
    except TaskNotFound as error:
        raise ToolError("there is no such task") from error
