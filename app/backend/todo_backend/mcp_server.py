"""The MCP endpoint (streamable HTTP): the task tools for any MCP client with a user's bearer token."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import HTTPException, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from todo_backend import __version__, tools
from todo_backend.database import Database
from todo_backend.dependencies import get_principal

Handler = Callable[[Scope, Receive, Send], Awaitable[None]]


class McpEndpoint:
    """An ASGI application that loads the MCP library on its first request.

    The library takes longer to import than all the rest of the backend; most processes never need it.
    Sessions are stateless, so any replica can answer any request.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._handler: Handler | None = None
        self._runner: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._stop = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            principal = await run_in_threadpool(get_principal, Request(scope, receive))
        except HTTPException as error:
            response = JSONResponse({"detail": error.detail}, error.status_code, error.headers)
            return await response(scope, receive, send)
        scope.setdefault("state", {})["user_id"] = principal.id
        async with self._starting:
            handler = self._handler = self._handler or await self._start()
        await handler(scope, receive, send)

    async def close(self) -> None:
        """All sessions are over."""
        self._stop.set()
        if self._runner is not None:
            await self._runner

    async def _start(self) -> Handler:
        manager = await asyncio.to_thread(_session_manager, self._database)
        running = asyncio.Event()

        async def run() -> None:
            # The manager's task group must be entered and left by one task, so it gets one.
            async with manager.run():
                running.set()
                await self._stop.wait()

        self._runner = asyncio.create_task(run(), name="mcp")
        await running.wait()
        handler: Handler = manager.handle_request
        return handler


def _session_manager(database: Database) -> Any:
    from mcp import types
    from mcp.server.lowlevel import Server
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    server: Any = Server("todo", version=__version__)

    @server.list_tools()  # type: ignore[untyped-decorator]
    async def list_tools() -> list[types.Tool]:
        return [
            types.Tool(name=tool.name, description=tool.description, inputSchema=tool.schema)
            for tool in tools.TOOLS.values()
        ]

    @server.call_tool()  # type: ignore[untyped-decorator]
    async def call_tool(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        user_id: uuid.UUID = server.request_context.request.state.user_id
        touched = await run_in_threadpool(tools.call, database, user_id, name, arguments)
        return {"tasks": [task.model_dump(mode="json") for task in touched]}

    return StreamableHTTPSessionManager(server, stateless=True, json_response=True)
