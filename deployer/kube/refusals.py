"""What the API server says when it refuses, in the words of ours."""

from __future__ import annotations

from dataclasses import dataclass

from deployer.core.errors import DeployError, ExitCode, Problem
from deployer.core.reading import Malformed, parse_json, shaped
from deployer.core.redact import foreign


class NotFound(DeployError):
    """The object, its namespace or its kind does not exist: an answer for those who read, a failure for who writes."""


@dataclass(frozen=True, slots=True)
class _Status:
    """The API server's own object for a refusal, as far as it is read."""

    message: str = ""
    reason: str = ""


class Busy(DeployError):
    """The server asks to be asked again: it has too much to do, or has just learnt of a kind."""


def refusal(method: str, path: str, status: int, raw: bytes | str) -> Exception:
    """The server's refusal without the object that was sent: a Secret's values must not reach a message."""
    try:
        told = shaped(_Status, parse_json(raw))
    except Malformed:
        told = _Status()
    message, reason = foreign(told.message), told.reason
    problem = Problem(
        f"API_{reason.upper() or status}",
        f"the API server refused {method} {path} ({status})",
        detail=message,
        hints=("kubectl auth whoami",) if status in (401, 403) else ("run the command again", "todo-deploy doctor"),
    )
    if status == 429:
        return Busy(problem, ExitCode.MACHINE)
    if status == 404:
        return NotFound(problem, ExitCode.MACHINE)
    return DeployError(problem, ExitCode.REFUSED if status in (401, 403, 409) else ExitCode.MACHINE)
