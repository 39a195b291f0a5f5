"""Times in which the API server does not answer: sat out for a while, and named when they do not end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from deployer.errors import DeployError, machine_error
from deployer.events import Item, ItemState
from deployer.steps import Clock, Steps

T = TypeVar("T")

PATIENCE_SECONDS = 90.0
"""An API server that was restarted is there again after some ten seconds, on a busy machine after half a minute."""

_TICK_SECONDS = 1.0
_ITEM = "API server"
# A server that is just starting, or whose etcd is, answers with these before it answers at all.
_PASSING = ("API_UNREACHABLE", "API_SERVICEUNAVAILABLE", "API_INTERNALERROR", "API_TIMEOUT", "API_503", "API_500")


def is_outage(error: DeployError) -> bool:
    """Whether the failure is one of the API server as a whole, which says nothing of what it was asked."""
    return error.problems[0].code in _PASSING


def sat_out(look: Callable[[], T], stage: str, clock: Clock, patience: float = PATIENCE_SECONDS) -> Steps[T]:
    """What the look sees, however often the API server has to be asked for it; a machine error after the patience."""
    begun = clock.monotonic()
    told = False
    while True:
        try:
            seen = look()
        except DeployError as error:
            if not is_outage(error):
                raise
            took = clock.monotonic() - begun
            if took > patience:
                raise machine_error(
                    "API_UNREACHABLE",
                    f"the API server has not answered for {took:.0f} s",
                    detail="\n".join(filter(None, (error.problems[0].title, error.problems[0].detail))),
                    hints=("todo-deploy up", "todo-deploy doctor"),
                ) from None
            if not told:
                told = True
                yield Item(stage, _ITEM, ItemState.RUNNING, "it does not answer; waiting for it")
            clock.sleep(_TICK_SECONDS)
            continue
        if told:
            yield Item(stage, _ITEM, ItemState.DONE, f"it answers again after {clock.monotonic() - begun:.0f} s")
        return seen
