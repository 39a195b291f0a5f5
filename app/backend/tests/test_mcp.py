"""The MCP endpoint, asked by the official client."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

from conftest import Account, Client, register


def _in_session(account: Account, path: str, calls: list[tuple[str, dict[str, Any]]]) -> tuple[list[str], list[Any]]:
    """The names of the tools, and the results of `calls`, over one MCP session."""

    async def run() -> tuple[list[str], list[Any]]:
        headers = {"Authorization": f"Bearer {account.token}"}
        async with (
            httpx.AsyncClient(headers=headers, trust_env=False) as http,
            streamable_http_client(str(account.client.base_url.join(path)), http_client=http) as streams,
            ClientSession(streams[0], streams[1]) as session,
        ):
            await session.initialize()
            names = [tool.name for tool in (await session.list_tools()).tools]
            return names, [await session.call_tool(name, arguments) for name, arguments in calls]

    return asyncio.run(run())


@pytest.mark.parametrize("path", ["/mcp", "/api/mcp"])
def test_the_tools_work_on_the_callers_tasks(ann: Account, path: str) -> None:
    bob = register(ann.client, "bob@example.com")
    bobs = bob.request("POST", "/tasks", json={"title": "bob's"}).json()["id"]
    names, results = _in_session(
        ann, path, [("add_task", {"title": "by mcp"}), ("list_tasks", {}), ("delete_task", {"task_id": bobs})]
    )
    assert names == ["add_task", "list_tasks", "complete_task", "delete_task"]
    added, listed, refused = results
    assert (
        added.structuredContent["tasks"][0]["title"] == "by mcp" and listed.structuredContent == added.structuredContent
    )
    assert refused.isError and refused.content[0].text == "there is no such task"
    assert ann.titles() == ["by mcp"] and bob.titles() == ["bob's"]


def test_it_needs_a_token(client: Client) -> None:
    assert client.post("/mcp", json={}).status_code == 401
    assert client.post("/mcp", json={}, headers={"Authorization": "Bearer x"}).status_code == 401
