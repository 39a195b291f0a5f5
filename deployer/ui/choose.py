"""Which printer shows a run, decided once from the flags, the stream and the environment (rich only for `live`)."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Literal, Protocol, Self, TextIO

from deployer.core.events import Event
from deployer.core.steps import Clock
from deployer.ui.jsonl import JsonlSink
from deployer.ui.plain import PlainSink
from deployer.ui.quiet import QuietSink

Progress = Literal["auto", "live", "plain", "json", "quiet"]


class Sink(Protocol):
    """Takes a run's events, inside a `with`."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def __call__(self, event: Event) -> None: ...


def choose(progress: Progress, stderr: TextIO, env: Mapping[str, str]) -> Progress:
    """`auto` resolved: live on a terminal that a person looks at, else plain."""
    if progress != "auto":
        return progress
    watched = stderr.isatty() and env.get("TERM", "") not in ("dumb", "unknown") and not _is_ci(env)
    return "live" if watched else "plain"


def make_sink(progress: Progress, stderr: TextIO, env: Mapping[str, str], verbosity: int, clock: Clock) -> Sink:
    """The sink for this run; it prints on `stderr` between its `__enter__` and `__exit__`."""
    github = env.get("GITHUB_ACTIONS") == "true"
    match choose(progress, stderr, env):
        case "json":
            return JsonlSink(stderr, clock)
        case "quiet":
            return QuietSink(stderr, github=github)
        case "live":
            from deployer.ui.console import make_console
            from deployer.ui.live import LiveSink

            return LiveSink(make_console(stderr, env), clock, verbosity=verbosity)
        case _:
            return PlainSink(stderr, clock, verbosity=verbosity, github=github)


def _is_ci(env: Mapping[str, str]) -> bool:
    return env.get("CI", "").lower() not in ("", "0", "false", "no")
