"""Puts the application together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio.to_thread
from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from todo_backend import __version__, errors
from todo_backend.attempts import LoginLimits
from todo_backend.database import WORKER_THREADS, Database
from todo_backend.lifecycle import Lifecycle
from todo_backend.mcp_server import McpEndpoint
from todo_backend.refusals import Refusals
from todo_backend.routes import auth, chat, health, tasks, usage
from todo_backend.settings import Settings
from todo_backend.usage import CountUsage, Usage

# Everything is served at both places: an ingress may strip /api or leave it.
PREFIXES = ("", "/api")


class CloseWhileDraining:
    """Tells keep-alive clients to come back on a new connection, which reaches another replica, once we drain."""

    def __init__(self, app: ASGIApp, lifecycle: Lifecycle) -> None:
        self._app = app
        self._lifecycle = lifecycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_and_close(message: Message) -> None:
            if message["type"] == "http.response.start" and self._lifecycle.draining:
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        await self._app(scope, receive, send_and_close if scope["type"] == "http" else send)


def create_app(settings: Settings) -> FastAPI:
    """The application. It serves /health at once and everything else when its background migration is done."""
    database = Database(settings.database_url)
    lifecycle = Lifecycle(database)
    mcp = McpEndpoint(database)
    counted = Usage(settings.data_dir) if settings.analytics else None

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = WORKER_THREADS
        migration = asyncio.create_task(lifecycle.migrate(), name="migrate")
        try:
            yield
        finally:
            migration.cancel()
            await asyncio.gather(migration, return_exceptions=True)
            await mcp.close()
            lifecycle.close()
            database.close()
            if counted is not None:
                counted.close()

    docs = {"docs_url": None, "redoc_url": None, "openapi_url": None} if settings.environment == "production" else {}
    app = FastAPI(title="Todo Chatbot", version=__version__, lifespan=lifespan, **docs)  # type: ignore[arg-type]
    app.state.settings, app.state.database, app.state.lifecycle = settings, database, lifecycle
    app.state.usage = counted
    app.state.login_limits = LoginLimits(settings.attempts_per_address, settings.attempts_per_account)
    errors.install(app)
    for prefix in PREFIXES:
        for module in (health, auth, tasks, chat, usage):
            app.include_router(module.router, prefix=prefix, include_in_schema=not prefix)
        app.router.routes.append(Route(f"{prefix}/mcp", mcp, methods=["GET", "POST", "DELETE"]))
    app.add_middleware(Refusals)  # inside CORS, so that pages of allowed origins can read the refusal
    any_origin = "*" in settings.allowed_origins
    app.add_middleware(
        CORSMiddleware,
        allow_origins=["*"] if any_origin else list(settings.allowed_origins),
        allow_credentials=not any_origin,
        allow_methods=["GET", "POST", "PATCH", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "Mcp-Protocol-Version", "Mcp-Session-Id"],
        max_age=600,
    )
    if counted is not None:
        app.add_middleware(CountUsage, usage=counted)
    app.add_middleware(CloseWhileDraining, lifecycle=lifecycle)
    return app
