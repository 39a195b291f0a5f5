"""`dev`: the least that is enough, by comparing what the sources are with what the containers have."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployer.commands.dev import Known, Seen, crashes, decide, folders, look, synced
from deployer.composition import begin_run
from deployer.config.load import load_spec
from deployer.core.steps import Outcome, Steps
from deployer.stages import restart, sync
from deployer.state import build_cache
from deployer.status import WorkloadRef
from tests.fakes import FakeKube
from tests.fakes.play import code, failed, played
from tests.fakes.shop import Shop

SYNC = 'sync: [{from: "src/**", to: /app}]'
WHERE = ("default", "api-pod", "api")


class Ground:
    """The shop with an image that takes files, whose container runs what was built of it."""

    def __init__(self, path: Path, patch: pytest.MonkeyPatch) -> None:
        self.shop = Shop(path, patch)
        self.root = self.shop.root
        spec = self.root / "todo-deploy.yaml"
        spec.write_text(spec.read_text().replace("context: api}", f"context: api, {SYNC}}}"))
        self.shop.write("1")
        (self.root / "api/src").mkdir()
        (self.root / "api/src/a.py").write_text("a = 1\n")
        self.kube: FakeKube = self.shop.kube
        self.kube.files[WHERE] = {}
        self.known = Known()
        self.known.deployed = self.look()
        self.known.built["api"] = {"shop/api:1": self.known.deployed.sources.images["api"].manifest}
        self.start("c1")

    def start(self, number: str, **more: Any) -> None:
        """A container of that id runs the image."""
        status = {"name": "api", "containerID": f"docker://{number:c<64}", "state": {"running": {}}, **more}
        self.kube.put({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "api-pod", "namespace": "default", "uid": "p"},
            "spec": {"containers": [{"name": "api", "image": "shop/api:1"}]},
            "status": {"containerStatuses": [status]},
        })  # fmt: skip

    def look(self, *paths: str) -> Seen:
        loaded = load_spec(self.root / "todo-deploy.yaml")
        before = self.known.deployed if paths else None
        return look((loaded, {"TOKEN": "t"}), None, self.shop.here, before, [str(self.root / path) for path in paths])

    def decide(self, *services: str) -> tuple[str, tuple[str, ...]]:
        work = decide(self.look(), self.known, self.pods(), services)
        return work.kind, work.images

    def pods(self) -> list[Any]:
        return list(self.kube.list("Pod", "default"))

    def copy(self) -> None:
        seen = self.look()
        work = decide(seen, self.known, self.pods())
        run = begin_run("r", seen.loaded, seen.values, self.shop.here)
        played(synced(run, self.kube, self.known, work.wanted))


@pytest.fixture
def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ground:
    return Ground(tmp_path, monkeypatch)


def test_nothing_changed_asks_for_nothing(ground: Ground) -> None:
    assert ground.decide() == ("nothing", ())


def test_a_change_that_was_undone_asks_for_nothing(ground: Ground) -> None:
    path = ground.root / "api/src/a.py"
    path.write_text("a = 2\n")
    assert ground.decide() == ("sync", ("api",))
    path.write_text("a = 1\n")
    (ground.root / "api/src/.a.py.swp").write_text("x")
    assert ground.decide() == ("nothing", ())


def test_what_sync_takes_is_copied_and_all_else_built(ground: Ground) -> None:
    (ground.root / "api/src/a.py").write_text("a = 2\n")
    (ground.root / "api/src/new").mkdir()
    (ground.root / "api/src/new/b.py").write_text("b")
    assert ground.decide() == ("sync", ("api",))
    assert ground.decide("other") == ("nothing", ())
    (ground.root / "api/Dockerfile").write_text("FROM scratch\nLABEL v=2\n")
    assert ground.decide() == ("build", ("api",))


def test_containers_that_cannot_take_files_are_built_for(ground: Ground) -> None:
    (ground.root / "api/src/a.py").write_text("a = 2\n")
    ground.known.refused.add("api")
    assert ground.decide() == ("build", ("api",))


def test_spec_env_and_chart_are_deployed_as_a_whole(ground: Ground) -> None:
    spec = ground.root / "todo-deploy.yaml"
    spec.write_text(spec.read_text().replace('version: "1"', 'version: "2"'))
    assert ground.decide()[0] == "release"
    ground.known.deployed = ground.look()
    (ground.root / "chart/Chart.yaml").write_text("apiVersion: v2\nname: web\nversion: 0.2.0\n")
    work = decide(ground.look("chart/Chart.yaml"), ground.known, ground.pods())
    assert (work.kind, "web" in work.why) == ("release", True)
    ground.known.deployed = replace(ground.look(), values={"TOKEN": "other"})
    work = decide(ground.look(), ground.known, ground.pods())
    assert work.kind == "release" and "TOKEN" in work.why and "other" not in work.why


def test_only_the_images_that_paths_belong_to_are_read_anew(ground: Ground) -> None:
    (ground.root / "api/src/a.py").write_text("a = 2\n")
    (ground.root / "chart/Chart.yaml").write_text("apiVersion: v2\nname: web\nversion: 0.2.0\n")
    seen = ground.look("api/src/a.py")
    assert ground.known.deployed is not None
    assert seen.manifests != ground.known.deployed.manifests
    assert seen.sources.charts == ground.known.deployed.sources.charts
    assert ground.look("api/src/a.py", "chart/Chart.yaml").sources.charts != seen.sources.charts


def test_what_was_copied_is_known_and_a_new_container_lacks_it(ground: Ground) -> None:
    (ground.root / "api/src/a.py").write_text("a = 2\n")
    ground.copy()
    assert ground.kube.files[WHERE]["/app/a.py"] == b"a = 2\n"
    assert ground.decide() == ("nothing", ())
    ground.start("c2")
    ground.known.forget_gone(ground.pods())
    assert ground.known.copied == {}
    assert ground.decide() == ("sync", ("api",))


def test_files_of_an_earlier_session_are_built(ground: Ground) -> None:
    (ground.root / "api/src/a.py").write_text("a = 2\n")
    ground.copy()
    ground.known.copied.clear()
    (ground.root / "api/src/a.py").write_text("a = 1\n")
    assert ground.decide() == ("build", ("api",))


def test_what_made_a_container_end_is_shown_and_not_copied_again(ground: Ground) -> None:
    (ground.root / "api/src/a.py").write_text("a = (\n")
    ground.copy()
    ended = {"exitCode": 1, "containerID": f"docker://{'c1':c<64}"}
    ground.start("c1", state={"waiting": {}}, lastState={"terminated": ended})
    assert ground.decide() == ("nothing", ()), "it is started again: no build"
    ground.start("c2", lastState={"terminated": ended})
    ground.kube.container_logs[(*WHERE, True)] = ["SyntaxError"]
    now = ground.shop.here.clock.now()
    assert crashes(ground.known, ground.pods(), ground.look(), ground.kube, now + 60) == []
    ended["finishedAt"] = ground.kube.clock.stamp(ground.kube.clock.elapsed)  # seen late, on a slow machine
    ground.start("c2", lastState={"terminated": ended})
    now += 60
    (problem,) = crashes(ground.known, ground.pods(), ground.look(), ground.kube, now)
    assert (problem.code, "SyntaxError" in problem.detail) == ("SYNC_CRASHED", True)
    ground.known.forget_gone(ground.pods())
    assert ground.decide() == ("nothing", ())
    (ground.root / "api/src/a.py").write_text("a = 3\n")
    assert ground.decide() == ("sync", ("api",))


def test_a_container_that_ends_later_gets_its_files_again(ground: Ground) -> None:
    (ground.root / "api/src/a.py").write_text("a = 2\n")
    ground.copy()
    ground.start("c2", lastState={"terminated": {"exitCode": 137, "containerID": f"docker://{'c1':c<64}"}})
    later = ground.shop.here.clock.now() + 60
    assert crashes(ground.known, ground.pods(), ground.look(), ground.kube, later) == []
    ground.known.forget_gone(ground.pods())
    assert ground.decide() == ("sync", ("api",))


def test_a_copy_that_fails_is_not_taken_for_done(ground: Ground) -> None:
    (ground.root / "api/src/a.py").write_text("a = 2\n")
    ground.kube.read_only.add(WHERE)
    seen = ground.look()
    work = decide(seen, ground.known, ground.pods())
    run = begin_run("r", seen.loaded, seen.values, ground.shop.here)
    _, error = failed(synced(run, ground.kube, ground.known, work.wanted))
    assert code(error) == "SYNC_FAILED"
    (left,) = ground.known.copied.values()
    assert left != seen.sources.images["api"].manifest
    (ground.root / "api/src/a.py").write_text("a = 1\n")  # as it was: what the container has is not known all the same
    assert ground.decide() == ("sync", ("api",))


def test_the_folders_are_those_in_which_a_change_can_matter(ground: Ground) -> None:
    (ground.root / "api/.dockerignore").write_text("node_modules\n")
    (ground.root / "api/node_modules/deep").mkdir(parents=True)
    (ground.root / "api/empty").mkdir()
    found = {str(path.relative_to(ground.root)) for path in folders(ground.look()) if path.is_relative_to(ground.root)}
    assert found == {".", "api", "api/src", "api/empty", "chart", "chart/templates"}


def test_a_context_that_goes_away_is_a_problem_with_its_place(ground: Ground) -> None:
    shutil.rmtree(ground.root / "api")
    with pytest.raises(Exception) as caught:
        ground.look()
    assert caught.value.problems[0].code == "CONTEXT_MISSING_FOLDER"  # type: ignore[attr-defined]


def test_the_builds_of_another_run_are_known(ground: Ground, tmp_path: Path) -> None:
    played(ground.shop.up("1"))
    ground.known.learn(ground.shop.here.folder(ground.look().loaded.spec))
    remembered = build_cache.recall(build_cache.memory_path(ground.shop.here.folder(ground.look().loaded.spec)))
    assert remembered["api"].ref in ground.known.built["api"]


def test_up_replaces_the_pods_that_have_copied_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(tmp_path, monkeypatch)
    _, result = played(shop.up("1"))
    pod = shop.kube.get("Pod", "default", "web-pod")
    assert pod is not None
    pod["metadata"]["labels"][sync.LABEL] = "c1"
    pod["spec"]["containers"][0]["image"] = result.images[0].ref
    shop.kube.put(pod)

    replaced: list[WorkloadRef] = []

    def restarted(refs: Sequence[WorkloadRef], *_: object) -> Steps[Outcome[None]]:
        yield from ()
        replaced.extend(refs)
        return Outcome(None, True)

    monkeypatch.setattr(restart, "restart_workloads", restarted)
    played(shop.up("1"))
    assert [one.name for one in replaced] == ["web"]
    played(shop.up("1", services=("web",)))
    assert len(replaced) == 1  # the image of the pods was not asked for
