"""OpenAI and Cohere over plain HTTP: one conversation with tool calls, until the model has an answer."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from todo_backend.settings import Provider
from todo_backend.tools import TOOLS

if TYPE_CHECKING:
    import httpx

MAX_ROUNDS = 5
SYSTEM_PROMPT = (
    "You manage the user's todo list with the given tools. Find a task's id with list_tasks before you complete or "
    "delete it. If several tasks could be meant, ask which. Answer in one or two short sentences of plain text."
)

RunTool = Callable[[str, object], Awaitable[str]]


class ProviderError(Exception):
    """The provider gave no usable answer. The message holds no secret and no user text."""


async def converse(provider: Provider, message: str, run_tool: RunTool, timeout: float = 20.0) -> str:
    """The model's final words, after every tool it asked for has been run with `run_tool`."""
    import httpx  # late: most processes never talk to a provider, and all of them must start fast

    messages: list[dict[str, Any]] = [
        {"role": "system", "content": SYSTEM_PROMPT},
        {"role": "user", "content": message},
    ]
    async with httpx.AsyncClient(
        timeout=httpx.Timeout(timeout, connect=3.0), headers={"Authorization": f"Bearer {provider.api_key}"}
    ) as client:
        for _ in range(MAX_ROUNDS):
            answer = await _ask(client, provider, messages)
            calls = answer.get("tool_calls") or []
            if not calls:
                return _text(answer)
            messages.append({"role": "assistant", **{k: v for k, v in answer.items() if k != "role" and v is not None}})
            for call in calls:
                try:
                    call_id, function = call["id"], call["function"]
                    name, arguments = function["name"], json.loads(function.get("arguments") or "{}")
                except (KeyError, TypeError, ValueError) as error:
                    raise ProviderError(f"{provider.name} sent a tool call that cannot be read") from error
                result = await run_tool(str(name), arguments)
                messages.append({"role": "tool", "tool_call_id": call_id, "content": result})
    raise ProviderError(f"{provider.name} did not come to an end within {MAX_ROUNDS} rounds")


async def _ask(client: httpx.AsyncClient, provider: Provider, messages: list[dict[str, Any]]) -> dict[str, Any]:
    """The provider's next message: `content`, `tool_calls`, or both."""
    import httpx

    path = "/chat/completions" if provider.name == "openai" else "/v2/chat"
    body = {"model": provider.model, "messages": messages, "tools": _tools()}
    try:
        response = await client.post(provider.base_url + path, json=body)
        response.raise_for_status()
        data = response.json()
        answer = data["choices"][0]["message"] if provider.name == "openai" else data["message"]
    except httpx.HTTPStatusError as error:
        raise ProviderError(f"{provider.name} answered {error.response.status_code}") from error
    except httpx.HTTPError as error:
        raise ProviderError(f"{provider.name} cannot be reached ({type(error).__name__})") from error
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise ProviderError(f"{provider.name} sent an answer that cannot be read") from error
    if not isinstance(answer, dict):
        raise ProviderError(f"{provider.name} sent an answer that cannot be read")
    return answer


def _text(answer: dict[str, Any]) -> str:
    """The words of a final message: a string (OpenAI) or a list of parts (Cohere)."""
    content = answer.get("content")
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    if not isinstance(content, str) or not content.strip():
        raise ProviderError("the provider sent an empty answer")
    return content.strip()


def _tools() -> list[dict[str, Any]]:
    return [
        {"type": "function", "function": {"name": t.name, "description": t.description, "parameters": t.schema}}
        for t in TOOLS.values()
    ]
