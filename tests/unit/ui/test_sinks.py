"""The sinks without a screen: plain, JSON lines, quiet, and the choice between them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace

import pytest

from deployer.core.errors import Problem
from deployer.core.events import Event, Item, Log, RunFinished, StageFailed, StageStarted, Warned, to_wire
from deployer.status import Phase
from deployer.ui.sinks import JsonlSink, Lines, PlainSink, Progress, QuietSink, choose, make_sink

from .scenes import (
    ALSO,
    CRASH,
    DONE_WELL,
    FAILED_OF_MANY,
    FAILED_RUN,
    ROLLING,
    RUNNING,
    FakeClock,
    Script,
    events,
    workload,
)


def plain(script: Script, verbosity: int = 0, github: bool = False) -> list[str]:
    stream, clock = io.StringIO(), FakeClock()
    sink = PlainSink(stream, clock, verbosity=verbosity, github=github)
    for wait, event in script:
        clock.sleep(wait)
        sink(event)
    return stream.getvalue().splitlines()


def test_plain_shows_each_change_in_one_line() -> None:
    assert plain(DONE_WELL) == [
        "up: todo-chatbot (cluster, images, secrets, releases, rollout, urls)",
        "cluster   started",
        "cluster   done in 1.3 s: started, Kubernetes v1.34.0",
        "images    started",
        "images    frontend  unchanged: as built",
        "images    backend  4/9 RUN pip install --no-cache-dir -r requirements.txt",
        "images    chatbot-frontend  7/11 " + "RUN npm ci && npm run build -- --mode production " * 3,
        "images    backend  done: built (todo_backend/main.py changed)",
        "images    done in 11.3 s: 2 built, 1 unchanged",
        "secrets   started",
        "secrets   unchanged in 0.2 s",
        "releases  started",
        "releases  done in 0.9 s: todo revision 4",
        "warning[IMAGE_LARGE]: image `backend` is 412 MB, the spec allows 300 MB",
        "  help: todo-deploy plan",
        "rollout   started",
        "rollout   deployment/frontend  Available, 2/2 ready",
        (
            "rollout   deployment/backend  Progressing, 0/2 ready, 1 restart: "
            "CrashLoopBackOff: container `backend` exited with 1"
        ),
        "rollout   deployment/backend  Available, 2/2 ready",
        "rollout   done in 4.0 s: 2 workloads available",
        "urls      started",
        "urls      frontend  http://192.168.49.2:30080 answered 200",
        "urls      unchanged in 0.3 s: 1 answered",
        "up done in 1 m 18 s",
    ]


def test_plain_gives_the_cause_after_the_output_that_shows_it() -> None:
    lines = plain(FAILED_RUN)
    failed = lines.index("rollout   failed after 3.0 s")
    assert lines[failed + 1] == "rollout   deployment/backend | Traceback (most recent call last):"
    assert lines[failed + 3].startswith("error[CRASH_LOOP]: ")
    assert lines[-1] == "up failed after 17.8 s (exit code 5: the rollout failed; the previous version serves)"


def test_plain_shows_the_first_finding_and_all_when_asked() -> None:
    lines = plain(FAILED_OF_MANY)
    assert "  1 further finding: -v, or todo-deploy explain" in lines
    assert not any(ALSO.code in line for line in lines)
    assert sum(f"[{CRASH.code}]" in line for line in lines) == 1
    every = plain(FAILED_OF_MANY, verbosity=1)
    assert f"warning[{ALSO.code}]: {ALSO.title}" in every
    assert not any("further finding" in line for line in every)


def test_plain_shows_the_cause_of_a_failure_once() -> None:
    cause = Problem("CRASH_LOOP", "backend ended", "exit code 1\nKeyError", "deployment/backend", ("see the log",))
    ended = replace(cause, detail=f"{cause.detail}\nevidence: /runs/1", hints=(*cause.hints, "todo-deploy explain"))
    lines = plain([(0, Warned(cause)), (0, StageFailed("rollout", 1.0, (ended,)))])
    for once in (
        "  exit code 1",
        "  KeyError",
        "  help: see the log",
        "  evidence: /runs/1",
        "  help: todo-deploy explain",
    ):
        assert lines.count(once) == 1
    assert [line for line in lines if "[CRASH_LOOP]" in line] == [
        "warning[CRASH_LOOP]: backend ended", "error[CRASH_LOOP]: backend ended",
    ]  # fmt: skip


def test_plain_prints_build_output_when_asked() -> None:
    shown = "images    backend | Collecting fastapi [red]not markup[/red] 日本語"
    assert shown not in plain(ROLLING) and shown in plain(ROLLING, verbosity=1)
    assert not any("\x1b" in line for line in plain(ROLLING, verbosity=1))


def test_plain_does_not_repeat_itself() -> None:
    same = Item("cluster", "minikube", RUNNING, "waiting")
    assert len(plain([(0.0, same), (1.0, same)])) == 1
    counting = [(n, Item("rollout", "api", RUNNING, f"not ready (it started {n} s ago)")) for n in (1.0, 2.0, 3.0)]
    assert len(plain(counting)) == 1
    status = workload("api", Phase.PENDING, 0, 1)
    assert len(plain([(0.0, status), (1.0, status)])) == 1


def test_plain_shows_bytes_by_quarters_and_steps_one_by_one() -> None:
    def printed(total: int) -> int:
        return len(plain([(0.0, Item("cluster", "x", RUNNING, f"{n}", n * total / 40, total)) for n in range(41)]))

    assert printed(10_000_000) == 5 and printed(40) == 41


def test_plain_speaks_to_github() -> None:
    lines = plain([(0.0, Log("x", "y", "##[add-path]/tmp")), *FAILED_RUN], verbosity=1, github=True)
    assert not any("##[" in line for line in lines)
    assert [line.split("::")[1].split()[0] for line in lines if line.startswith("::")] == ["warning", "error"]


def test_a_heartbeat_comes_after_fifteen_silent_seconds_only() -> None:
    stream, clock = io.StringIO(), FakeClock()
    sink = PlainSink(stream, clock)
    sink.beat()
    sink(StageStarted("images"))
    sink(Item("images", "api", RUNNING, "RUN make", 4, 9))
    before = stream.getvalue()
    clock.sleep(9.9)
    sink.beat()
    assert stream.getvalue() == before
    clock.sleep(0.2)
    sink.beat()
    sink.beat()
    assert stream.getvalue() == before + "images    still running after 10 s: api 4/9 RUN make\n"


def test_a_heartbeat_cuts_a_long_step_that_was_printed_before() -> None:
    stream, clock = io.StringIO(), FakeClock()
    sink = PlainSink(stream, clock)
    sink(StageStarted("images"))
    sink(Item("images", "api", RUNNING, "RUN " + "make && " * 50, 4, 9))
    clock.sleep(11)
    sink.beat()
    first, last = stream.getvalue().splitlines()[1:]
    assert "make && " * 49 in first
    assert last.endswith("…") and len(last) < 130


def test_a_heartbeat_names_the_workloads_that_are_late() -> None:
    stream, clock = io.StringIO(), FakeClock()
    sink = PlainSink(stream, clock)
    for event in (
        StageStarted("rollout"),
        workload("web", Phase.AVAILABLE, 1, 1),
        workload("api", Phase.PENDING, 0, 1, why="Unschedulable: no node has 4 CPUs"),
    ):
        sink(event)
    clock.sleep(90)
    sink.beat()
    assert stream.getvalue().splitlines()[-1] == (
        "rollout   still running after 1 m 30 s: deployment/api Pending, 0/1 ready: Unschedulable: no node has 4 CPUs"
    )


def test_the_heartbeat_thread_ends_with_the_run() -> None:
    sink = PlainSink(io.StringIO(), FakeClock())
    with pytest.raises(KeyboardInterrupt), sink:
        assert sink._thread is not None and sink._thread.is_alive()
        raise KeyboardInterrupt
    assert not sink._thread.is_alive()


@pytest.mark.parametrize(
    ("outcome", "changed", "words"),
    [("ok", False, "up: nothing to change (2.0 s)"), ("interrupted", True, "up interrupted after 2.0 s")],
)
def test_plain_says_how_the_run_ended(outcome: str, changed: bool, words: str) -> None:
    end = RunFinished(0, changed, 2.0, outcome)  # type: ignore[arg-type]
    assert plain([ROLLING[0], (0.0, end)])[-1] == words


def test_json_lines_are_the_wire_form_with_a_time() -> None:
    stream = io.StringIO()
    with JsonlSink(stream, FakeClock()) as sink:
        for event in events(FAILED_RUN):
            sink(event)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert {wire.pop("at") for wire in lines} == {"2023-11-14T22:15:00.000Z"}
    assert lines == [json.loads(json.dumps(to_wire(event))) for event in events(FAILED_RUN)]


def test_quiet_prints_problems_only() -> None:
    for github, count in ((False, 7), (True, 8)):
        stream = io.StringIO()
        with QuietSink(stream, github=github) as sink:
            for event in events(DONE_WELL):
                sink(event)
            assert stream.getvalue() == ""
            sink(StageFailed("rollout", 1, (CRASH,)))
        assert len(stream.getvalue().splitlines()) == count


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("progress", "stream", "env", "chosen"),
    [
        ("auto", Terminal(), {"TERM": "xterm-256color"}, "live"),
        ("auto", Terminal(), {"TERM": "dumb"}, "plain"),
        ("auto", Terminal(), {"TERM": "xterm", "CI": "true"}, "plain"),
        ("auto", Terminal(), {"TERM": "xterm", "CI": "false"}, "live"),
        ("auto", io.StringIO(), {"TERM": "xterm"}, "plain"),
        ("json", Terminal(), {"TERM": "xterm"}, "json"),
        ("quiet", io.StringIO(), {}, "quiet"),
        ("live", io.StringIO(), {}, "live"),
    ],
)
def test_the_printer_is_chosen_once(progress: Progress, stream: io.StringIO, env: dict[str, str], chosen: str) -> None:
    assert choose(progress, stream, env) == chosen
    name = {"live": "LiveSink", "plain": "PlainSink", "json": "JsonlSink", "quiet": "QuietSink"}[chosen]
    assert type(make_sink(progress, stream, env, 0, FakeClock())).__name__ == name


def test_printers_without_a_screen_do_not_load_rich() -> None:
    modules = "sinks view words"
    code = "import sys; " + "; ".join(f"import deployer.ui.{name}" for name in modules.split())
    code += "; sys.exit(any(name.split('.')[0] == 'rich' for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_event_can_be_shown(capsys: pytest.CaptureFixture[str]) -> None:
    kinds: set[type[Event]] = {type(event) for event in events([*DONE_WELL, *FAILED_RUN])}
    assert len(kinds) == 10


def test_lines_outlive_their_reader_and_their_encoding() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    lines = Lines(Gone())
    lines.write("one")
    lines.write("two")
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Lines(stream).write("日 ok")
    assert raw.getvalue().rstrip() == b"? ok"
