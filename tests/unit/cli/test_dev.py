"""The loop of `dev`: rounds, one after the other, and what is said of them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from deployer.cli import dev as dev_module
from deployer.cli.dev import Eyes, Loop, Woken
from deployer.cli.options import Session
from deployer.commands.connection import Opened, open_running
from deployer.commands.services import services_of
from deployer.config.load import load_spec
from deployer.core.errors import DeployError, ExitCode
from deployer.core.events import Event, RunFinished, StageFailed, StageFinished, Warned
from deployer.kube import logs
from deployer.stages import sync
from tests.fakes.shop import Shop
from tests.fakes.workloads import show

SYNC = 'sync: [{from: "src/**", to: /app}]'


class Screen:
    """Keeps what it is shown."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.states: list[str] = []
        self.lines: list[str] = []

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def keys(self, press: Callable[[str], None], show: Callable[[str], bool]) -> None:
        self.press = press

    @contextmanager
    def round(self) -> Iterator[Callable[[Event], None]]:
        yield self.events.append

    def log(self, service: str, line: str) -> None:
        self.lines.append(line)

    def workloads(self, *_: object) -> None: ...
    def says(self, state: str) -> None:
        self.states.append(state)

    def outcomes(self) -> list[str]:
        """How the rounds ended."""
        return [one.outcome for one in self.events if isinstance(one, RunFinished)]

    def codes(self) -> list[str]:
        """What was wrong."""
        return [problem.code for one in self.events if isinstance(one, StageFailed) for problem in one.problems]


class Still:
    """Eyes that see the pods when they are asked, and wake nobody."""

    def __init__(self, opened: Opened, *_: object) -> None:
        self.opened, self.synced = opened, frozenset[str]()

    def close(self) -> None: ...

    def look_at(self, opened: Opened, *_: object) -> None:
        self.opened = opened

    def pods(self) -> tuple[Any, ...]:
        return tuple(self.opened.kube.list("Pod", "default"))


class Ground:
    def __init__(self, path: Path, patch: pytest.MonkeyPatch) -> None:
        self.shop = Shop(path, patch)
        self.root = self.shop.root
        self.spec = self.root / "todo-deploy.yaml"
        self.spec.write_text(self.spec.read_text().replace("context: api}", f"context: api, {SYNC}}}"))
        self.shop.write("1")
        (self.root / "api/src").mkdir()
        self.source = self.root / "api/src/a.py"
        self.source.write_text("a = 1\n")
        patch.setattr(dev_module, "Eyes", Still)
        self.screen = Screen()
        self.loop = Loop(Session(file=self.spec), (), self.shop.here, self.screen)
        self.react(key="r")
        self.contain()

    def contain(self) -> None:
        """The pod runs the image that was built last, and takes commands."""
        pod = self.shop.kube.get("Pod", "default", "web-pod")
        assert pod is not None
        pod["spec"]["containers"][0]["image"] = next(reversed(self.loop._known.built["api"]))
        pod["status"]["containerStatuses"][0]["containerID"] = "docker://" + "c" * 64
        self.shop.kube.put(pod)
        self.shop.kube.files["default", "web-pod", "web"] = {}

    def react(self, key: str = "") -> ExitCode:
        return self.loop._react(Woken("key" if key else "files", key=key))

    @property
    def files(self) -> dict[str, bytes]:
        return self.shop.kube.files["default", "web-pod", "web"]


@pytest.fixture
def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ground]:
    made = Ground(tmp_path, monkeypatch)
    yield made
    made.loop.close()


def test_the_first_round_is_an_up_and_nothing_follows(ground: Ground) -> None:
    assert ground.screen.outcomes() == ["ok"]
    assert ground.react() is ExitCode.OK
    assert ground.screen.outcomes() == ["ok"]


def test_a_save_is_copied_once_and_what_was_seen_is_said(ground: Ground) -> None:
    ground.source.write_text("a = 2\n")
    ground.react()
    ground.react()
    assert ground.files == {"/app/a.py": b"a = 2\n"}
    assert ground.screen.outcomes() == ["ok", "ok"]
    said = [one.text for one in ground.screen.events if isinstance(one, StageFinished) and one.stage == "sources"]
    assert said[-1] == "api: src/a.py → copied"
    pod = ground.shop.kube.get("Pod", "default", "web-pod")
    assert pod is not None and sync.LABEL in pod["metadata"]["labels"]


def test_where_copying_fails_it_builds_instead(ground: Ground) -> None:
    ground.shop.kube.read_only.add(("default", "web-pod", "web"))
    built = len(ground.shop.images.built)
    ground.source.write_text("a = 2\n")
    ground.react()
    assert ground.screen.codes() == ["SYNC_FAILED"]
    assert len(ground.shop.images.built) == built + 1
    assert ground.screen.outcomes()[-1] == "ok"


def test_a_spec_that_cannot_be_read_is_shown_once_and_cleared_when_it_can(ground: Ground) -> None:
    text = ground.spec.read_text()
    ground.spec.write_text(text + "images: [\n")
    ground.react()
    ground.react()
    assert ground.screen.outcomes() == ["ok", "failed"]
    ground.spec.write_text(text)
    ground.react()
    assert ground.screen.outcomes() == ["ok", "failed", "ok"]


def test_a_failure_is_not_tried_again_and_its_cause_stays(ground: Ground) -> None:
    ground.shop.kube.files.clear()
    ground.source.write_text("a = 2\n")
    ground.react()
    ground.react()
    assert ground.screen.codes() == ["SYNC_LOST"]
    assert ground.screen.outcomes() == ["ok", "failed"]


def test_paused_it_only_acts_when_asked(ground: Ground) -> None:
    ground.loop.press("p")
    ground.loop.press("x")
    ground.loop._wait()
    ground.source.write_text("a = 2\n")
    ground.react()
    assert ground.screen.outcomes() == ["ok"]
    assert ground.screen.states == ["paused"]
    ground.react(key="r")
    assert ground.screen.outcomes() == ["ok", "ok"]


def test_polling_is_said(ground: Ground) -> None:
    ground.loop._watcher.polls = True
    ground.react()
    ground.react()
    assert [one.problem.code for one in ground.screen.events if isinstance(one, Warned)].count("WATCH_LIMIT") == 1


def test_a_save_during_a_round_is_one_more_round(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    ground.source.write_text("a = 2\n")
    before = ground.shop.kube.execute

    def late(*args: Any) -> Any:
        if ground.source.read_text() == "a = 2\n":
            ground.source.write_text("a = 3\n")
        return before(*args)

    monkeypatch.setattr(ground.shop.kube, "execute", late)
    ground.react()
    assert ground.files == {"/app/a.py": b"a = 3\n"}
    assert ground.screen.outcomes() == ["ok", "ok", "ok"]


def test_a_log_is_read_once_whatever_is_built_beside_it(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_LOOK_SECONDS", 0.02)
    kube = ground.shop.kube
    kube.container_logs["default", "web-pod", "web", False] = ("served",)
    opened = open_running(load_spec(ground.spec), ground.shop.here)
    eyes = Eyes(opened, services_of(opened), lambda: None, ground.screen)  # type: ignore[arg-type]
    try:
        for _ in range(1000):
            if ground.screen.lines:
                break
            time.sleep(0.01)
        for _ in range(5):
            eyes.look_at(opened, services_of(opened))
            time.sleep(0.05)
    finally:
        eyes.close()
    assert ground.screen.lines == ["served"]


@pytest.mark.parametrize(
    ("saved", "outcomes"),
    [("a = 3\n", ["ok", "interrupted", "ok"]), ("a = (\n", ["ok", "interrupted", "ok"]), ("a = 2\n", ["ok", "failed"])],
)
def test_a_rollout_is_not_waited_for_once_something_else_is_saved(
    ground: Ground, saved: str, outcomes: list[str]
) -> None:
    kube, helm = ground.shop.kube, ground.shop.helm
    begun = kube.clock.elapsed

    def save() -> None:
        ground.source.write_text(saved)
        helm._run = lambda release: show(kube, release)  # type: ignore[method-assign]
        ground.loop._inbox.put(Woken("files"))

    ground.loop._known.refused.add("api")
    ground.source.write_text("a = 2\n")
    helm._run = lambda release: show(kube, release, ready=False)  # type: ignore[method-assign]
    kube.clock.at(begun + 20, save)
    ground.react()
    assert ground.screen.outcomes() == outcomes
    if "failed" not in outcomes:
        assert kube.clock.elapsed < begun + 60
        assert ground.shop.verdicts[-2:] == ["superseded", "verified"]
        assert ground.screen.codes() == ["INTERRUPTED"]


def test_what_was_given_up_is_waited_for_again_where_the_save_was_undone(ground: Ground) -> None:
    kube, helm = ground.shop.kube, ground.shop.helm
    begun = kube.clock.elapsed

    def save() -> None:
        ground.source.write_text("a = 3\n")
        ground.loop._inbox.put(Woken("files"))
        looked = ground.loop._look

        def undone(paths: frozenset[str]) -> Any:
            seen = looked(paths)
            ground.source.write_text("a = 2\n")
            show(kube, "web")
            return seen

        ground.loop._look = undone  # type: ignore[method-assign]

    ground.loop._known.refused.add("api")
    ground.source.write_text("a = 2\n")
    helm._run = lambda release: show(kube, release, ready=False)  # type: ignore[method-assign]
    kube.clock.at(begun + 20, save)
    ground.react()
    assert ground.screen.outcomes() == ["ok", "interrupted", "ok"]
    assert ground.shop.verdicts[-1] == "verified"


def test_q_leaves_and_an_unknown_service_is_refused(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    def leave() -> None:
        while len(ground.screen.outcomes()) < 2 or ground.loop._busy:
            time.sleep(0.01)
        ground.loop.press("q")

    threading.Thread(target=leave, daemon=True).start()
    assert ground.loop.run() is ExitCode.OK
    monkeypatch.setattr(dev_module, "this_machine", lambda: ground.shop.here)
    with pytest.raises(DeployError) as caught:
        dev_module.dev.main(["apy", "-f", str(ground.spec)], standalone_mode=False)
    assert caught.value.problems[0].code == "SERVICE_UNKNOWN"


def test_editors_get_json_lines(ground: Ground, capsys: pytest.CaptureFixture[str]) -> None:
    with dev_module.Plain(Session(output="json"), ground.shop.here) as display:
        with display.round() as sink:
            sink(RunFinished(0, True, 0.1, "ok"))
        display.log("api", "hello")
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["type"], second["type"], second["item"], second["line"]) == ("run_finished", "log", "api", "hello")
