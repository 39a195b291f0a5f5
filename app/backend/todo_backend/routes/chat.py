"""Tasks by plain English."""

from __future__ import annotations

from fastapi import APIRouter

from todo_backend.chat import assistant
from todo_backend.dependencies import DatabaseDep, PrincipalDep, SettingsDep
from todo_backend.schemas import ChatIn, ChatOut

router = APIRouter(tags=["chat"])


@router.post("/chat")
async def chat(body: ChatIn, principal: PrincipalDep, database: DatabaseDep, settings: SettingsDep) -> ChatOut:
    """The reply, the task list after it, and the engine (`grammar`, `openai`, `cohere`) that made it."""
    return await assistant.answer(database, settings.provider, principal.id, body.message)
