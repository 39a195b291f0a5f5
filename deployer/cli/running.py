"""Running a pipeline for a command: printer, run record, redaction, JSON envelope and exit code."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import click

from deployer import evidence
from deployer.cli.options import Session
from deployer.cluster.ownership import Elsewhere, elsewhere
from deployer.composition import Machine, this_machine
from deployer.config.load import LoadedSpec, load_spec, nearest_spec
from deployer.config.spec import seconds
from deployer.core.errors import DeployError, ExitCode, Problem, disk_explained, input_error, refused
from deployer.core.events import Event, Item, ItemState, RunFinished, RunStarted
from deployer.core.files import write_private
from deployer.core.reading import Malformed, read_json
from deployer.core.redact import KNOWN, masked
from deployer.core.steps import Steps, drive
from deployer.state import runs
from deployer.status import WorkloadStatus
from deployer.ui.sinks import Progress, make_sink
from deployer.ui.view import View, envelope, fold

if TYPE_CHECKING:
    from cProfile import Profile

    from deployer.stages.urls import ProvenUrl

T = TypeVar("T")
_PROFILED_FUNCTIONS = 60


@dataclass(frozen=True, slots=True)
class Ran(Generic[T]):
    """How a run ended: its value when it ended well, its view always."""

    value: T | None
    view: View
    exit_code: ExitCode
    seconds: float
    problems: tuple[Problem, ...]
    record: Path | None = None
    """The folder of its record, where one is kept."""


def read_spec(session: Session) -> LoadedSpec:
    """The spec that the session names, or the nearest one."""
    overrides = list(session.overrides)
    if session.toolchain:
        overrides.append(f"toolchain={session.toolchain}")
    if session.forward:
        overrides.append(f"forward={session.forward}")
    if session.registry:
        # The way by which this machine reaches the spec's registry leads to no other.
        push = [] if any(one.startswith("registry.push=") for one in overrides) else ["registry.push=null"]
        overrides += [f"registry.address={json.dumps(session.registry)}", "delivery=registry", *push]
    if session.ca:
        overrides.append(f"build.ca={json.dumps(str(session.ca.absolute()))}")
    if session.context:
        overrides += _for_context(session.context)
    path = session.file if session.file is not None else nearest_spec()
    loaded = load_spec(path, session.profile, overrides)
    if not loaded.spec.env.expand:
        return loaded
    from deployer.sources.load import filled, load_env, values_of

    return filled(loaded, values_of(load_env(loaded)))


def _for_context(context: str) -> list[str]:
    """A context of Minikube's is its profile; any other is used as it is."""
    from deployer.kube.kubeconfig import owner, read

    if owner(read(this_machine().kubeconfig), context) == "minikube":
        return [f"cluster.name={context}"]
    return [f"cluster.context={context}", "cluster.provider=context"]


@dataclass(frozen=True, slots=True)
class Task(Generic[T]):
    """What is to be run for a command: the stages that it will go through, and its steps for the run of that id."""

    command: str
    application: str
    stages: tuple[str, ...]
    steps: Callable[[str], Steps[T]]
    kept: bool = True
    """Whether a record of the run is kept."""


def run(
    session: Session, command: str, application: str, stages: tuple[str, ...], steps: Callable[[str], Steps[T]],
    here: Machine,
) -> Ran[T]:  # fmt: skip
    """As `driven`, shown as the session asks for it."""
    with make_sink(progress_of(session), sys.stderr, here.env, session.verbose, here.clock) as sink:
        ran = driven(session, Task(command, application, stages, steps), here, sink)
    report_rest(session, ran)
    return ran


def driven(session: Session, task: Task[T], here: Machine, sink: Callable[[Event], None]) -> Ran[T]:
    """The steps are driven to their end, every event shown, recorded and folded; a failure is reported, not raised."""
    clock = here.clock
    begun = clock.monotonic()
    run_id = runs.new_run_id(clock.now())
    record = runs.RunRecord(here.state_dir, run_id) if task.kept else None
    folder = runs.RunFolder(record.folder, KNOWN) if record is not None else None
    view = View()
    value: T | None = None
    code, problems = ExitCode.OK, tuple[Problem, ...]()

    def emit(event: Event) -> None:
        nonlocal view
        safe = masked(event)
        view = fold(view, safe, now=0.0)  # only times that the events state are shown
        if record is not None:
            record.write(safe, clock.now())
        sink(safe)

    emit(RunStarted(task.command, task.application, task.stages))
    try:
        with disk_explained(), evidence.recording_in(folder) if folder is not None else nullcontext():
            value = drive(task.steps(run_id), emit)
    except DeployError as error:
        code, problems = error.exit_code, masked(error.problems)
    except KeyboardInterrupt as why:
        again = (f"todo-deploy {task.command}",)
        title = str(why) or "interrupted; nothing is lost"
        code, problems = ExitCode.INTERRUPTED, (Problem("INTERRUPTED", title, hints=again),)
    took = clock.monotonic() - begun
    outcome = {ExitCode.OK: "ok", ExitCode.INTERRUPTED: "interrupted"}.get(code, "failed")
    emit(RunFinished(int(code), view.changed, took, outcome))  # type: ignore[arg-type]
    if record is not None and folder is not None:
        record.close()
        of = _spec_path(session), session.profile
        whole = (task.command, task.application, outcome, int(code), view.changed, took, problems, *of)
        evidence.summarize(folder, evidence.Ended(*whole))
    return Ran(value, view, code, took, problems, record.folder if record is not None else None)


def progress_of(session: Session) -> Progress:
    """How the session wants progress to be shown."""
    return "quiet" if session.quiet else (session.progress or "auto")


def report_rest(session: Session, ran: Ran[Any]) -> None:
    """Problems that no event reported are on standard error."""
    unreported = [problem for problem in ran.problems if problem not in ran.view.problems]
    if unreported and not session.as_json:
        from deployer.ui.codes import print_problems

        print_problems(unreported)


def _spec_path(session: Session) -> Path | None:
    with suppress(DeployError, OSError):
        return (session.file or nearest_spec()).resolve()
    return None


@contextmanager
def profiled(path: Path | None) -> Iterator[None]:
    """What is done inside is in the file: the time of each function, in every thread; nothing where there is none.

    Input error PROFILE_UNWRITABLE, before anything is done.
    """
    if path is None:
        yield
        return
    import cProfile
    import threading

    before, begun = time.process_time(), time.monotonic()
    _write_profile(path, "")
    profiles = [cProfile.Profile()]

    def follow(*_: object) -> None:
        """Takes its own place in a thread that has just begun."""
        profiles.append(cProfile.Profile())
        with suppress(ValueError):  # from Python 3.12 on, the first one sees all threads
            profiles[-1].enable()

    threading.setprofile(follow)
    profiles[0].enable()
    try:
        yield
    finally:
        profiles[0].disable()
        threading.setprofile(None)
        took, used = time.monotonic() - begun, time.process_time() - before
        head = f"{took:.3f} s by the clock, {used:.3f} s of processor time; {before:.3f} s of it before, for imports\n"
        _write_profile(path, _profile_text(profiles, head))


def _profile_text(profiles: Sequence[Profile], head: str) -> str:
    import pstats

    text = io.StringIO()
    stats = pstats.Stats(*profiles, stream=text)
    text.write(head)
    for order in ("tottime", "cumulative"):
        stats.sort_stats(order).print_stats(_PROFILED_FUNCTIONS)
    return text.getvalue()


def _write_profile(path: Path, content: str) -> None:
    try:
        write_private(path.parent.resolve(strict=True) / path.name, content)
    except OSError as error:
        detail, hints = error.strerror or str(error), ("--profile-run FILE, in a folder that can be written",)
        raise input_error("PROFILE_UNWRITABLE", f"cannot write {path}", detail=detail, hints=hints) from None


def duration_option(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """An option's duration in seconds; a usage error where it is none."""
    try:
        return seconds(value) if value is not None else None
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None


def objects_option(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """An option's objects; a usage error where one is not such as `job/seed`."""
    for value in values:
        kind, slash, name = value.partition("/")
        if not (kind.replace(".", "").isalnum() and slash and name):
            raise click.BadParameter(f"`{value}` is not KIND/NAME, such as job/seed", ctx, param)
    return values


def workload_data(workloads: Iterable[WorkloadStatus]) -> list[dict[str, Any]]:
    """The documented `data.workloads` of the commands that watch a rollout."""
    return [
        {
            "kind": status.ref.kind,
            "name": status.ref.name,
            "namespace": status.ref.namespace,
            "phase": status.phase.value,
            "ready": status.ready,
            "desired": status.desired,
            "restarts": status.restarts,
        }
        for status in workloads
    ]


def url_data(urls: Iterable[ProvenUrl]) -> list[dict[str, Any]]:
    """The documented `data.urls` of the commands that prove them."""
    return [{"name": one.name, "url": one.url, "address": one.address, "status": one.status} for one in urls]


def print_json(
    command: str, code: ExitCode, data: dict[str, Any] | None, problems: tuple[Problem, ...] = ()
) -> ExitCode:
    """Standard output carries the one document of the command; returns the code that is in it."""
    with suppress(BrokenPipeError):  # that nobody reads it does not change the code
        print(json.dumps(envelope(command, code == ExitCode.OK, code, data, masked(problems)), ensure_ascii=False))
    return code


def confirm_cluster(session: Session, loaded: LoadedSpec, here: Machine) -> None:
    """Returns when the user has once agreed to deploy to a cluster that is not of this machine, as this user and into
    this namespace; refused where nobody can be asked or the answer is no."""
    where = elsewhere(loaded.spec, here.kubeconfig)
    if where is None:
        return
    note = here.folder(loaded.spec) / "confirmed.json"
    with suppress(OSError, Malformed):
        if read_json(note, Elsewhere) == where:
            return
    confirm(session, where.question)
    write_private(note, json.dumps(asdict(where)))


def confirm(session: Session, question: str) -> None:
    """Returns when the user said yes; refused where nobody can be asked or the answer is no."""
    if session.yes:
        return
    if session.as_json or not sys.stdin.isatty():
        raise refused("CONFIRMATION", f"this needs a confirmation: {question}", hints=("add --yes",))
    if not click.confirm(question, default=False, err=True):
        raise refused("CONFIRMATION", "not confirmed: nothing was changed", hints=("answer y, or add --yes",))


def show_fetch(event: Event) -> None:
    """A fetch that takes seconds is said on standard error."""
    if isinstance(event, Item) and event.state is ItemState.RUNNING:
        print(masked(f"{event.item}: {event.text}"), file=sys.stderr, flush=True)
