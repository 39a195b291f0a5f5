"""What the API server says when it refuses, in the words of ours."""

from __future__ import annotations

import json
from typing import Any

from deployer.core.errors import DeployError, ExitCode, Problem
from deployer.core.redact import foreign


class NotFound(DeployError):
    """The object, its namespace or its kind does not exist: an answer for those who read, a failure for who writes."""


def refusal(method: str, path: str, status: int, raw: bytes | str) -> Exception:
    """The server's refusal without the object that was sent: a Secret's values must not reach a message."""
    try:
        document: Any = json.loads(raw)
        message, reason = foreign(document.get("message", "")), str(document.get("reason", ""))
    except (ValueError, AttributeError):
        message, reason = "", ""
    problem = Problem(
        f"API_{reason.upper() or status}", f"the API server refused {method} {path} ({status})", detail=message
    )
    if status == 404:
        return NotFound(problem, ExitCode.MACHINE)
    return DeployError(problem, ExitCode.REFUSED if status in (401, 403, 409) else ExitCode.MACHINE)
