"""One run at a time for a deployment, whichever command it is and whichever machine it was started on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from deployer.composition import Run
from deployer.core.steps import Steps
from deployer.state.lock import locked

T = TypeVar("T")
P = ParamSpec("P")


def one_at_a_time(command: Callable[Concatenate[Run, P], Steps[T]]) -> Callable[Concatenate[Run, P], Steps[T]]:
    """The command waits for any other run of the deployment on this machine, and keeps the cluster's lock it takes."""

    @functools.wraps(command)
    def alone(run: Run, /, *args: P.args, **kwargs: P.kwargs) -> Steps[T]:
        return locked(run.folder, run.clock, run.lock.during(command(run, *args, **kwargs)))

    return alone
