"""Probes: /health (the process lives), /startup (its start is over), /ready (traffic may come)."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from todo_backend.dependencies import LifecycleDep

router = APIRouter(tags=["health"])


def _answer(problem: str | None) -> JSONResponse:
    if problem is None:
        return JSONResponse({"status": "ok"})
    return JSONResponse({"status": "unavailable", "reason": problem}, 503)


@router.get("/health")
async def health() -> JSONResponse:
    """200 while the process can answer at all. Asks nobody: a database that is down is no reason to restart us."""
    return _answer(None)


@router.get("/startup")
async def startup(lifecycle: LifecycleDep) -> JSONResponse:
    """200 once the migrations are done."""
    return _answer(None if lifecycle.migrated else lifecycle.reason)


@router.get("/ready")
async def ready(lifecycle: LifecycleDep) -> JSONResponse:
    """200 when the database answers, its schema fits, and no shutdown has begun."""
    return _answer(await lifecycle.not_ready())
