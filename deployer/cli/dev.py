"""`todo-deploy dev`: the loop, and where what it does is shown."""

from __future__ import annotations

import gc
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import click

from deployer.cli.entry import interrupt
from deployer.cli.options import Session, common_options, complete_services
from deployer.cli.running import Task, driven, progress_of
from deployer.cli.up import read_inputs
from deployer.cli.urls import can_show, launch
from deployer.commands import dev as story
from deployer.commands.connection import Opened, open_running
from deployer.commands.deploy import STABILITY
from deployer.commands.dev import Known, Seen, Work
from deployer.commands.planning import refuse_unknown
from deployer.commands.services import log_sources, pods_of, services_of
from deployer.commands.status import addresses_of, services_beside
from deployer.commands.up import UpOptions, stages_of, up
from deployer.composition import Machine, begin_run, this_machine
from deployer.config.load import LoadedSpec
from deployer.core.errors import DeployError, ExitCode, Problem
from deployer.core.events import Event, Log, StageStarted
from deployer.core.steps import Clock, Outcome, Steps, outcome_only, stage
from deployer.core.text import clean
from deployer.rollout import stage as rollout_stage
from deployer.rollout.stage import take_snapshot, worth_showing
from deployer.sources.watch import Watcher
from deployer.stages import sync
from deployer.stages import urls as urls_stage
from deployer.state.lock import watching
from deployer.status import Snapshot, WorkloadRef, WorkloadStatus, workload_status
from deployer.toolchain import Toolchain, locate_toolchain
from deployer.ui.sinks import JsonlSink, Lines, choose, make_sink
from deployer.ui.words import copied_words

if TYPE_CHECKING:
    from deployer.ui.dev import DevScreen

Sink = Callable[[Event], None]
Statuses = tuple[WorkloadStatus, ...]
_LOOK_SECONDS = 1.0
_WAITING = (rollout_stage.STAGE, urls_stage.STAGE, STABILITY)


@click.command("dev")
@click.argument("services", nargs=-1, shell_complete=complete_services)
@common_options
def dev(session: Session, services: tuple[str, ...]) -> int:
    """Run `up`, then keep what runs at the sources as they change; with SERVICE names, only these images.

    Files that the spec lets `sync` are copied into running containers; all else is built and rolled out.
    """
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, interrupt)  # a terminal that goes away
    here = this_machine()
    loaded, _, _ = read_inputs(session)
    refuse_unknown(services, {*loaded.spec.images, *loaded.spec.releases})
    with (
        watching(here.folder(loaded.spec), loaded.spec.application),
        _display(session, here) as display,
        closing(Loop(session, services, here, display)) as loop,
    ):
        return loop.run()


@dataclass(frozen=True, slots=True)
class Woken:
    """Why the loop looks again."""

    by: Literal["files", "pods", "key"]
    paths: frozenset[str] = frozenset()
    key: str = ""


class Superseded(KeyboardInterrupt):
    """What is waited for is no longer wanted: the sources are others by now."""


@dataclass(frozen=True, slots=True)
class Watchful:
    """A clock that lets a look at the sources end what sleeps."""

    clock: Clock
    look: Callable[[], None]

    def monotonic(self) -> float:
        """As the clock's."""
        return self.clock.monotonic()

    def now(self) -> float:
        """As the clock's."""
        return self.clock.now()

    def sleep(self, seconds: float) -> None:
        """So many seconds are over; whatever `look` raises."""
        self.clock.sleep(seconds)
        self.look()


class Loop:
    """Looks, decides and acts, one after the other, whenever it is woken; threads only wake it."""

    def __init__(self, session: Session, services: tuple[str, ...], here: Machine, display: Plain | DevScreen) -> None:
        self._session, self._services, self._display = session, services, display
        self._here = replace(here, clock=Watchful(here.clock, self._supersede))
        self._inbox: queue.SimpleQueue[Woken] = queue.SimpleQueue()
        self._known = Known()
        self._watcher = Watcher(lambda paths: self._inbox.put(Woken("files", frozenset(paths))))
        self._eyes: Eyes | None = None
        self._seen: Seen | None = None
        self._read: tuple[tuple[object, ...], LoadedSpec, dict[str, str]] | None = None
        self._tools: Toolchain | None = None
        self._paused = False
        self._tried: object = None
        self._failed_at: Seen | None = None
        self._failed: tuple[Problem, ...] = ()
        self._busy = self._said_polling = self._is_unfinished = False
        self._rolling: Seen | None = None
        self._stage, self._heard = "", 0
        display.keys(self.press, lambda url: can_show(here.env, sys.platform) and launch(url))

    def close(self) -> None:
        """No thread of the loop runs on."""
        self._watcher.close()
        if self._eyes is not None:
            self._eyes.close()

    def run(self) -> ExitCode:
        """Until the user leaves; how the last round ended where it was interrupted, else well."""
        woken = Woken("key", key="r")
        while True:
            if self._react(woken) is ExitCode.INTERRUPTED:
                return ExitCode.INTERRUPTED
            try:
                woken = self._wait()
            except KeyboardInterrupt:
                return ExitCode.OK
            if woken.key == "q":
                return ExitCode.OK

    def _react(self, woken: Woken) -> ExitCode:
        """Rounds until nothing is left to do, what changed meanwhile included; of a failure nothing is tried again."""
        forced, paths = woken.key == "r", woken.paths
        while True:
            try:
                seen = self._look(paths)
                self._watcher.watch(story.folders(seen))
                if self._watcher.polls and not self._said_polling:
                    self._said_polling = True
                    self._round((story.SOURCES,), story.polling(self._here.clock))
                if self._paused and not forced:
                    return ExitCode.OK
                work = self._work(seen, forced=forced)
            except DeployError as error:
                return self._fail(error.problems)
            containers = tuple(sorted(one.id for each in work.wanted for one in each.containers))
            tried = (seen, work.kind, work.images, containers)
            if work.kind == "nothing" and self._failed and seen != self._failed_at:
                return self._round((story.SOURCES,), _said("what runs is as the sources are", self._here))
            if work.kind == "nothing" or (tried == self._tried and not forced):
                return ExitCode.OK
            self._tried = tried
            self._is_unfinished = False
            code = self._act(seen, work)
            if self._is_unfinished:
                self._tried, code = None, ExitCode.OK
            self._failed_at = seen
            if code is ExitCode.INTERRUPTED:
                return code
            forced, paths = False, frozenset()

    def _fail(self, problems: tuple[Problem, ...]) -> ExitCode:
        """The problems are shown, once."""
        if problems == self._failed:
            return ExitCode.OK
        self._failed_at = None
        return self._round((story.SOURCES,), stage(story.SOURCES, story.failing(problems), self._here.clock))

    def _wait(self) -> Woken:
        """Why to look again, once something wakes the loop; several reasons are one."""
        woken = self._inbox.get()
        while True:
            if woken.key == "p":
                self._paused = not self._paused
                self._display.says("paused" if self._paused else "")
            try:
                more = self._inbox.get_nowait()
            except queue.Empty:
                return woken
            known = woken.by == more.by == "files" and woken.paths and more.paths
            woken = more if more.by == "key" else Woken(more.by, woken.paths | more.paths if known else frozenset())

    def press(self, key: str) -> None:
        """A key is pressed, as seen from any thread."""
        if key == "q" and self._busy:
            os.kill(os.getpid(), signal.SIGINT)  # ends what is being done, as Ctrl-C does
        self._inbox.put(Woken("key", key=key))

    def _look(self, paths: frozenset[str]) -> Seen:
        if self._read is None or story.stamps(self._read[1]) != self._read[0]:
            read, values, _ = read_inputs(self._session)
            self._read = story.stamps(read), read, values
        _, loaded, values = self._read
        self._tools = locate_toolchain(loaded.spec.toolchain, self._here.cache_dir) or self._tools
        self._seen = story.look((loaded, values), self._tools, self._here, self._seen, paths)
        return self._seen

    def _work(self, seen: Seen, *, forced: bool) -> Work:
        if forced or self._eyes is None or self._known.deployed is None:
            return Work("release", "asked for" if self._known.deployed else "first run")
        pods = self._eyes.pods()
        crashed = story.crashes(self._known, pods, seen, self._eyes.opened.kube, self._here.clock.now())
        if crashed:
            self._failed_at = seen
            self._round((sync.STAGE,), stage(sync.STAGE, story.failing(crashed), self._here.clock))
        self._known.forget_gone(pods)
        work = story.decide(seen, self._known, pods, self._services)
        return Work("release", "waited for again") if work.kind == "nothing" and self._is_unfinished else work

    def _act(self, seen: Seen, work: Work) -> ExitCode:
        """How the work ended."""
        code = self._copy(seen, work) if work.kind == "sync" else self._up(seen, work)
        if self._eyes is not None:
            self._eyes.synced = frozenset(self._known.copied)
        return code

    def _copy(self, seen: Seen, work: Work) -> ExitCode:
        assert self._eyes is not None
        kube, known = self._eyes.opened.kube, self._known

        def steps(run_id: str) -> Steps[Any]:
            yield from _said(f"{work.why} → copied", self._here)
            run = begin_run(run_id, seen.loaded, seen.values, self._here)
            return (yield from story.synced(run, kube, known, work.wanted))

        code = self._round((story.SOURCES, sync.STAGE), steps)
        if any(one.code == "SYNC_FAILED" for one in self._failed):
            known.refused |= set(work.images)
        return code

    def _up(self, seen: Seen, work: Work) -> ExitCode:
        loaded, what = seen.loaded, "built" if work.kind == "build" else "deployed"
        options = UpOptions(services=work.images if work.kind == "build" else self._services, hold=0.0)

        def steps(run_id: str) -> Steps[Any]:
            yield from _said(f"{work.why} → {what}", self._here)
            return (yield from up(begin_run(run_id, loaded, seen.values, self._here), options))

        self._rolling, self._heard = seen, 0
        code = self._round((story.SOURCES, *stages_of(loaded)), steps, kept=True)
        self._rolling = None
        self._known.learn(self._here.folder(loaded.spec))
        if code is ExitCode.OK:
            self._known.deployed = seen
            self._known.refused.clear()
            self._known.crashed.clear()
        self._open(loaded)
        return code

    def _round(
        self, stages: tuple[str, ...], steps: Steps[Any] | Callable[[str], Steps[Any]], *, kept: bool = False
    ) -> ExitCode:
        application = self._read[1].spec.application if self._read else ""
        body = steps if callable(steps) else lambda _: steps
        self._busy = True
        with self._display.round() as sink:

            def show(event: Event) -> None:
                self._stage = event.stage if isinstance(event, StageStarted) else self._stage
                sink(event)

            ran = driven(self._session, Task("dev", application, stages, body, kept), self._here, show)
        self._busy = False
        gc.collect()  # of connections in cycles, it sees a few small objects and not OpenSSL's memory behind them
        self._failed = ran.problems
        return ran.exit_code

    def _supersede(self) -> None:
        """A rollout is not waited for once something else was saved: the next round rolls that out."""
        heard, here = self._inbox.qsize(), threading.current_thread() is threading.main_thread()
        if self._rolling is None or self._stage not in _WAITING or heard == self._heard or not here:
            return
        self._heard = heard
        with suppress(DeployError):  # a file that cannot be read is one that is being edited
            if self._look(frozenset()) != self._rolling:
                self._is_unfinished = True
                raise Superseded("the sources have changed: what they are now is rolled out instead")

    def _open(self, loaded: LoadedSpec) -> None:
        """What runs is looked at from now on."""
        try:
            opened = open_running(loaded, self._here)
            if self._eyes is None:
                wake = lambda: self._inbox.put(Woken("pods"))  # noqa: E731
                self._eyes = Eyes(opened, services_of(opened), wake, self._display)
            else:
                self._eyes.look_at(opened, services_of(opened))
        except DeployError:
            if self._eyes is not None:
                self._eyes.close()
            self._eyes = None


def _said(words: str, here: Machine) -> Steps[None]:
    """A stage that says why there is a round."""
    yield from stage(story.SOURCES, outcome_only(Outcome(None, False, words)), here.clock)


class Eyes:
    """Looks at what runs: each second at its pods, and at its logs as they are written."""

    def __init__(
        self, opened: Opened, refs: tuple[WorkloadRef, ...], wake: Callable[[], None], display: Plain | DevScreen
    ) -> None:
        self._wake, self._display = wake, display
        self.synced: frozenset[str] = frozenset()
        self._ended = threading.Event()
        self.look_at(opened, refs)
        for target in (self._look_on, self._read_logs):
            threading.Thread(target=target, name="eyes", daemon=True).start()

    def look_at(self, opened: Opened, refs: tuple[WorkloadRef, ...]) -> None:
        """These workloads are looked at; logs of containers that run on are read on."""
        snapshot = take_snapshot(refs, opened.kube, events=False)
        services = services_beside(refs, opened.kube)
        self._addresses = {ref.name: url for ref, url in addresses_of(refs, services, opened, snapshot).items()}
        self.opened, self._refs, self._snapshot = opened, refs, snapshot
        self._ids: frozenset[str] | None = None

    def close(self) -> None:
        """Nothing is looked at any more."""
        self._ended.set()

    def pods(self) -> tuple[Any, ...]:
        """The pods as they are now."""
        self._snapshot = take_snapshot(self._refs, self.opened.kube, events=False, before=self._snapshot)
        return tuple(self._snapshot.pods)

    def _look_on(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            with suppress(DeployError):  # a cluster that is away is looked for again
                pods = self.pods()
                snapshot, now = self._snapshot, time.time()
                statuses = tuple(workload_status(ref, snapshot, now) for ref in self._refs)
                synced = _services_of(self.synced, self._refs, snapshot)
                self._display.workloads(worth_showing(statuses), synced, self._addresses)
                ids = frozenset(one.id for one in sync.pod_containers(pods))
                if self._ids is not None and ids != self._ids:
                    self._wake()
                self._ids = ids

    def _read_logs(self) -> None:
        from deployer.kube import logs

        def look() -> tuple[logs.Source, ...]:
            if self._ended.is_set():
                raise StopIteration
            return log_sources(self._refs, self._snapshot)

        with suppress(DeployError, RuntimeError, StopIteration):
            stream = lambda *where, **how: self.opened.kube.follow(*where, **how)  # noqa: E731
            for line in logs.follow(stream, look, tail=5):
                if self._ended.is_set():
                    return
                self._display.log(line.source.service, line.text)


def _services_of(ids: frozenset[str], refs: tuple[WorkloadRef, ...], snapshot: Snapshot) -> frozenset[str]:
    """The workloads that have one of these containers."""
    return frozenset(
        ref.name for ref in refs if any(one.id in ids for one in sync.pod_containers(pods_of(ref, snapshot)))
    )  # fmt: skip


class Plain:
    """Lines, or JSON lines, as those of `up`; what the services write is between them."""

    def __init__(self, session: Session, here: Machine) -> None:
        self._session, self._here = session, here
        self._lines, self._synced = Lines(sys.stderr), frozenset[str]()
        self._json = JsonlSink(sys.stdout, here.clock) if session.as_json else None

    def __enter__(self) -> Plain:
        return self

    def __exit__(self, *error: object) -> None:
        if self._synced and self._json is None:
            self._lines.write(copied_words(self._synced))

    def keys(self, press: Callable[[str], None], show: Callable[[str], bool]) -> None:
        """There are none."""

    def round(self) -> AbstractContextManager[Sink]:
        """The sink of one round."""
        if self._json is not None:
            return self._json
        progress = "plain" if (asked := progress_of(self._session)) in ("auto", "live") else asked
        return make_sink(progress, sys.stderr, self._here.env, self._session.verbose, self._here.clock)

    def log(self, service: str, line: str) -> None:
        """One line of a service's log."""
        if self._json is not None:
            self._json(Log("logs", service, clean(line)))
        elif not self._session.quiet:
            self._lines.write(f"{service} | {clean(line)}")

    def workloads(self, statuses: Statuses, synced: frozenset[str], addresses: Mapping[str, str]) -> None:
        """Lines are about changes, which a round shows; what was copied is said at the end."""
        self._synced = synced

    def says(self, state: str) -> None:
        """The state is a line."""
        if self._json is None and not self._session.quiet:
            self._lines.write(state or "watching")


def _display(session: Session, here: Machine) -> Plain | DevScreen:
    if session.as_json or choose(progress_of(session), sys.stderr, here.env) != "live":
        return Plain(session, here)
    from deployer.ui.console import make_console
    from deployer.ui.dev import DevScreen

    return DevScreen(make_console(sys.stderr, here.env), here.clock, sys.stdin)
