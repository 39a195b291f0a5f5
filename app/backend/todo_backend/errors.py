"""Errors as the API shows them: what is wrong and with which field, never the value that was sent."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from todo_backend.tasks import TaskNotFound

log = logging.getLogger(__name__)


def explain(error: Mapping[str, Any]) -> dict[str, str]:
    """One pydantic error as {field, message}. Its input is left out: it may be a password."""
    where = [str(part) for part in error["loc"] if part not in ("body", "query", "path")]
    kind, context = error["type"], error.get("ctx", {})
    message = {
        "missing": "is required",
        "string_too_short": f"must have at least {context.get('min_length')} character(s)",
        "string_too_long": f"must have at most {context.get('max_length')} characters",
        "extra_forbidden": "is not a known field",
        "json_invalid": "the body is not valid JSON",
        "model_attributes_type": "must be a JSON object",
    }.get(kind, str(error["msg"]).removeprefix("Value error, "))
    if kind == "string_pattern_mismatch":
        message = "is not a valid e-mail address"  # e-mail is the only field with a pattern
    return {"field": "" if kind == "json_invalid" else ".".join(where), "message": message}


def describe(errors: Iterable[Mapping[str, Any]]) -> str:
    """All of `errors` in one line for people."""
    return "; ".join(f"{e['field']} {e['message']}".strip() for e in map(explain, errors))


def install(app: FastAPI) -> None:
    """Every error of `app` is answered as JSON with a `detail` string."""

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"detail": describe(error.errors()), "errors": [*map(explain, error.errors())]}, 422)

    @app.exception_handler(TaskNotFound)
    async def no_task(_: Request, error: TaskNotFound) -> JSONResponse:
        return JSONResponse({"detail": "there is no such task"}, 404)

    @app.exception_handler(DBAPIError)
    @app.exception_handler(PoolTimeout)
    async def no_database(_: Request, error: Exception) -> JSONResponse:
        log.error("database: %s", error)
        return JSONResponse({"detail": "the database is not available"}, 503, {"Retry-After": "2"})
