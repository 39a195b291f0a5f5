"""Answers one chat message for one user: by the language model when there is one, else by the grammar."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Sequence

from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from todo_backend import tools
from todo_backend.chat import grammar
from todo_backend.chat.providers import ProviderError, converse
from todo_backend.database import Database
from todo_backend.errors import describe
from todo_backend.schemas import ChatOut, TaskIn, TaskOut, TaskPatch
from todo_backend.settings import Provider
from todo_backend.tasks import Tasks

log = logging.getLogger(__name__)

HELP = (
    "I keep your todo list. Try: “add buy milk”, “show my tasks”, “complete buy milk”, “complete task 2”, "
    "“delete buy milk”, “delete all completed tasks”."
)


async def answer(database: Database, provider: Provider | None, user_id: uuid.UUID, message: str) -> ChatOut:
    """The reply, the user's tasks after it, and which engine made it. A failing provider never fails the chat."""
    if provider is not None:
        done: list[str] = []

        async def run_tool(name: str, arguments: object) -> str:
            try:
                touched = await run_in_threadpool(tools.call, database, user_id, name, arguments)
            except tools.ToolError as error:
                return json.dumps({"error": str(error)})
            if name != "list_tasks":
                done.append(f"{tools.TOOLS[name].past_tense} {_titles(touched)}.")
            return json.dumps({"tasks": [task.model_dump(mode="json") for task in touched]})

        try:
            reply: str | None = await converse(provider, message, run_tool)
        except ProviderError as error:
            log.warning("chat: %s", error)
            # What the model has already done must not be done again by the grammar.
            reply = " ".join(done) or None
        if reply is not None:
            return ChatOut(reply=reply, tasks=await run_in_threadpool(_tasks, database, user_id), engine=provider.name)
    return await run_in_threadpool(_by_grammar, database, user_id, message)


def _tasks(database: Database, user_id: uuid.UUID) -> list[TaskOut]:
    with database.session() as session:
        return [TaskOut.model_validate(task) for task in Tasks(session, user_id).all()]


def _by_grammar(database: Database, user_id: uuid.UUID, message: str) -> ChatOut:
    with database.session() as session:
        tasks = Tasks(session, user_id)
        reply = _carry_out(tasks, grammar.parse(message))
        after = [TaskOut.model_validate(task) for task in tasks.all()]
    return ChatOut(reply=reply, tasks=after, engine="grammar")


def _carry_out(tasks: Tasks, command: grammar.Command) -> str:
    """Does what `command` says and tells so in a sentence."""
    match command:
        case grammar.Help(understood=understood):
            return HELP if understood else f"I did not understand that. {HELP}"
        case grammar.Show(completed=completed):
            return _listing(tasks, completed)
        case grammar.Add(title=title, description=description):
            try:
                return f"Added “{tasks.add(TaskIn(title=title, description=description)).title}”."
            except ValidationError as error:
                return f"I cannot add that: {describe(error.errors())}."
        case grammar.Mark(reference=reference) | grammar.Delete(reference=reference):
            found = grammar.resolve(reference, tasks.all())
            group = grammar.is_group(reference)
            if not found:
                return "There are no such tasks." if group else f"I found no task “{reference}”."
            if len(found) > 1 and not group:
                return f"Which one do you mean: {_titles(found)}? You can also say its number."
            if isinstance(command, grammar.Mark):
                for task in found:
                    tasks.change(task.id, TaskPatch(completed=command.completed))
                return f"{'Completed' if command.completed else 'Reopened'} {_titles(found)}."
            titles = _titles(found)
            for task in found:
                tasks.delete(task.id)
            return f"Deleted {titles}."


def _listing(tasks: Tasks, completed: bool | None) -> str:
    # Numbers are those of the whole list, whatever part of it is shown: they are what "complete task 2" means.
    lines = [
        f"{number}. [{'x' if task.completed else ' '}] {task.title}"
        for number, task in enumerate(tasks.all(), start=1)
        if completed is None or task.completed == completed
    ]
    kind = {None: "", True: "completed ", False: "open "}[completed]
    if not lines:
        return f"You have no {kind}tasks."
    return f"You have {len(lines)} {kind}task{'s' if len(lines) > 1 else ''}:\n" + "\n".join(lines)


def _titles(tasks: Sequence[grammar.Titled]) -> str:
    return ", ".join(f"“{task.title}”" for task in tasks)
