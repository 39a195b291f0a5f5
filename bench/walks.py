"""Counts how many functions and files three things pass on their way through the package: `python -m bench.walks`.

A function handles a thing if one of its arguments or its result holds it, at most three steps deep (an item of a
sequence, a value of a mapping, a field of a dataclass). Functions inside others count as the outer one. Not counted is
what would carry anything: `core`, the locks and the masks around a run; what checks a thing on its way and hands
nothing on (the rules of preflight, and the dry run that asks the API server what it would say), with all that it calls
for that; and in `rollback` what only judges pods. Each walk begins with the spec that was read and
ends where its thing arrives: the image tag when helm is asked, the cause when its line is on the screen, the rollback
with the command. The walks run on the fakes of the unit tests.
"""

from __future__ import annotations

import dataclasses
import io
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

import deployer
from deployer.core.errors import DeployError
from deployer.core.events import Event
from deployer.core.ports import Upgraded, UpgradeRequest
from deployer.core.steps import Steps, drive
from deployer.ui.sinks import PlainSink
from tests.fakes.shop import Shop
from tests.fakes.workloads import show

PACKAGE = str(Path(deployer.__file__).parent)
DEPTH = 3
CARRIERS = ("core", "state/lock", "kube/masking")
CHECKS = ("preflight", "helm/dry_run")
NEVER_PULL = ("ErrImageNeverPull", 'Container image "shop/api:1" is not present with pull policy of Never')


@dataclasses.dataclass(frozen=True)
class Walk:
    """The functions of the package that handled the thing, as `file:function`."""

    name: str
    functions: frozenset[str]
    frames: int
    """The package's frames on the deepest stack that the thing was on."""

    @property
    def files(self) -> frozenset[str]:
        """The files that they are in."""
        return frozenset(one.partition(":")[0] for one in self.functions)


class Tracer:
    """Notes every function of the package that `handles` is true of, from its arguments and its results."""

    def __init__(self, handles: Callable[[Any], bool], but: tuple[str, ...] = ()) -> None:
        self._but = (*CARRIERS, *but)
        self.functions: set[str] = set()
        self.frames = 0
        self.arrived = False
        self._handles = handles

    @contextmanager
    def running(self) -> Iterator[None]:
        """While inside, in every thread that begins."""
        import threading

        threading.setprofile(self._profile)
        sys.setprofile(self._profile)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)

    def _profile(self, frame: FrameType, event: str, result: Any) -> None:
        code = frame.f_code
        if self.arrived or event not in ("call", "return") or not code.co_filename.startswith(PACKAGE):
            return
        name = _name(code)
        if name is None or name.startswith(self._but) or _is_checking(frame):
            return
        held = [result] if event == "return" else [frame.f_locals.get(one) for one in _parameters(code)]
        if any(self._handles(one) for one in held):
            self.functions.add(name)
            self.frames = max(self.frames, _depth(frame))


def _is_checking(frame: FrameType | None) -> bool:
    """Whether this runs in a check, or for one."""
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(PACKAGE) and file[len(PACKAGE) + 1 :].startswith(CHECKS):
            return True
        frame = frame.f_back
    return False


def _depth(frame: FrameType | None) -> int:
    count = 0
    while frame is not None:
        count += frame.f_code.co_filename.startswith(PACKAGE)
        frame = frame.f_back
    return count


def _parameters(code: CodeType) -> tuple[str, ...]:
    count = code.co_argcount + code.co_kwonlyargcount
    return code.co_varnames[:count]


def _name(code: CodeType) -> str | None:
    """`file:function`; None for what is no function of its own (a module, a generated `__init__`)."""
    outer = code.co_qualname.partition(".<locals>")[0]
    if outer.startswith("<") or outer.rpartition(".")[2] in ("__init__", "__eq__", "__hash__", "__repr__"):
        return None
    return f"{Path(code.co_filename).relative_to(PACKAGE)}:{outer.removesuffix('.<lambda>')}"


def holds(value: Any, text: str, depth: int = DEPTH) -> bool:
    """Whether the value is a text with these words, or has one at most so many steps below it."""
    if isinstance(value, str):
        return text in value
    if depth == 0 or isinstance(value, type):
        return False
    if dataclasses.is_dataclass(value):
        return any(holds(getattr(value, one.name, None), text, depth - 1) for one in dataclasses.fields(value))
    if isinstance(value, Mapping):
        return any(holds(one, text, depth - 1) for pair in value.items() for one in pair)
    if isinstance(value, list | tuple | set | frozenset):
        return any(holds(one, text, depth - 1) for one in value)
    return isinstance(value, DeployError) and any(holds(one, text, depth - 1) for one in value.problems)


def image_tag(shop: Shop) -> Walk:
    """The image of the spec, until it stands in the values that helm is given."""
    tracer = Tracer(lambda value: holds(value, "shop/api"))
    upgrade = shop.helm.upgrade

    def arrive(request: UpgradeRequest) -> Upgraded:
        tracer.arrived = True
        return upgrade(request)

    shop.helm.upgrade = arrive  # type: ignore[method-assign]
    steps = shop.up("1")
    with tracer.running():
        _played(steps, lambda _: None)
    return Walk("an image tag, from the spec to the Helm values", frozenset(tracer.functions), tracer.frames)


def never_pull(shop: Shop) -> Walk:
    """ErrImageNeverPull, from the pod to the line on the screen."""
    screen = io.StringIO()
    printer = PlainSink(screen, shop.kube.clock)
    shop.helm._run = lambda release: show(shop.kube, release, ready=False, waiting=NEVER_PULL)  # type: ignore[method-assign]
    tracer = Tracer(lambda value: holds(value, "ErrImageNeverPull") or holds(value, "IMAGE_NEVER_PULL"))

    def show_event(event: Event) -> None:
        printer(event)
        tracer.arrived = tracer.arrived or "IMAGE_NEVER_PULL" in screen.getvalue()

    with tracer.running():
        _played(shop.up("1"), show_event)
    assert tracer.arrived, screen.getvalue()
    return Walk("ErrImageNeverPull, from the pod to the screen", frozenset(tracer.functions), tracer.frames)


def rollback(shop: Shop) -> Walk:
    """The revision that is gone back to, from the command to its end."""
    for version in ("1", "2"):
        _played(shop.up(version), lambda _: None)
    tracer = Tracer(lambda value: holds(value, "web"), but=("status", "diagnosis"))
    steps = shop.back()
    with tracer.running():
        _played(steps, lambda _: None)
    return Walk("rollback", frozenset(tracer.functions), tracer.frames)


def _played(steps: Steps[Any], sink: Callable[[Any], None]) -> None:
    try:
        drive(steps, sink)
    except DeployError:
        return


def main() -> int:
    """Prints the counts; `-v` the functions too."""
    for walk in (image_tag, never_pull, rollback):
        with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            found = walk(Shop(Path(folder), patch))
        print(f"{found.name}: {len(found.functions)} functions in {len(found.files)} files, {found.frames} frames deep")
        if "-v" in sys.argv:
            print(*(f"    {one}" for one in sorted(found.functions)), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
