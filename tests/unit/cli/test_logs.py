"""`logs`: every pod of the services that were asked for, safe to print, through restarts and replaced pods."""

from __future__ import annotations

import copy
from collections.abc import Generator
from itertools import islice
from typing import Any

import pytest

from deployer.commands.services import best_pod, pods_of
from deployer.kube import logs
from deployer.kube.logs import Source, follow, sources_of
from deployer.rollout.stage import take_snapshot
from tests.fakes.kube import FakeKube
from tests.fakes.workloads import ref, show
from tests.unit.cli.conftest import Run, Staged


def say(staged: Staged, name: str, *lines: str, previous: bool = False) -> None:
    staged.kube.container_logs["default", f"{name}-pod", name, previous] = list(lines)


def test_all_services_each_line_with_its_pod(staged: Staged, run: Run) -> None:
    say(staged, "backend", "one", "two")
    say(staged, "frontend", "three")
    ran = run("logs")
    assert ran.out.splitlines() == ["backend-pod | one", "backend-pod | two", "frontend-pod | three"]
    assert run("logs", "frontend", "--no-prefix").out == "three\n"
    assert run("logs", "deployment/backend", "--tail", "1").out == "backend-pod | two\n"


def test_secrets_are_masked_and_control_characters_gone(staged: Staged, run: Run) -> None:
    say(staged, "backend", "key k-5551\x1b[1m234567 \x1b]0;title\x07\x1b[2Jend", "\x9b31mred")
    out = run("logs", "backend", "--no-prefix").out
    assert out == "key ••• end\nred\n"


def test_as_json_the_lines_are_data(staged: Staged, run: Run) -> None:
    say(staged, "backend", "API_KEY=k-5551234567")
    document = run("logs", "backend", "-o", "json").document
    assert document["data"]["lines"] == [
        {"service": "backend", "namespace": "default", "pod": "backend-pod", "container": "backend",
         "line": "API_KEY=•••"}
    ]  # fmt: skip


def test_previous_is_of_restarted_containers_only(staged: Staged, run: Run) -> None:
    nothing = run("logs", "--previous")
    assert (nothing.code, nothing.out) == (0, "") and "no container was restarted" in nothing.err
    show(staged.kube, "backend", restarts=1, crashed=1)
    say(staged, "backend", "the last words", previous=True)
    say(staged, "frontend", "not asked for", previous=True)
    assert run("logs", "--previous").out == "backend-pod | the last words\n"


def test_the_short_f_is_follow_and_says_so_to_who_meant_a_file(staged: Staged, run: Run) -> None:
    ran = run("-o", "text", "logs", "-f", "todo-deploy.yaml")
    assert ran.code == 2 and "todo-deploy --file todo-deploy.yaml logs" in ran.err
    assert run("-f", "todo-deploy.yaml", "logs").code == 0


def test_a_malformed_option_is_no_log(staged: Staged, run: Run) -> None:
    assert run("logs", "--tail", "-1").code == 2


def test_a_pod_of_several_containers_names_them() -> None:
    pod: dict[str, Any] = {
        "metadata": {"name": "p", "namespace": "n", "uid": "u"},
        "status": {
            "initContainerStatuses": [{"name": "wait", "containerID": "c1", "state": {"terminated": {}}}],
            "containerStatuses": [
                {"name": "app", "containerID": "c2", "state": {"running": {}}},
                {"name": "slow", "state": {"waiting": {"reason": "ContainerCreating"}}},
                {"name": "loop", "containerID": "c3", "state": {"waiting": {}}, "lastState": {"terminated": {}}},
            ],
        },
    }
    found = sources_of("s", pod)
    assert [(one.label, one.is_running) for one in found] == [("p/wait", False), ("p/app", True), ("p/loop", False)]
    assert [one.label for one in sources_of("s", pod, previous=True)] == ["p/loop"]


def test_old_and_leaving_pods_are_the_services_too() -> None:
    kube = FakeKube()
    show(kube, "backend")
    old_set = copy.deepcopy(kube.get("ReplicaSet", "default", "backend-rs"))
    pod = copy.deepcopy(kube.get("Pod", "default", "backend-pod"))
    assert old_set is not None and pod is not None
    old_set["metadata"] |= {"name": "backend-old", "uid": "set-old"}
    old_set["spec"]["template"]["spec"]["containers"][0]["image"] = "backend:0"
    owner = {"kind": "ReplicaSet", "name": "backend-old", "uid": "set-old"}
    pod["metadata"] |= {"name": "backend-older", "uid": "pod-old", "ownerReferences": [owner]}
    pod["metadata"]["deletionTimestamp"] = kube.clock.stamp()
    kube.put(old_set)
    kube.put(pod)
    snapshot = take_snapshot((ref("backend"),), kube, events=False)
    assert [one["metadata"]["name"] for one in pods_of(ref("backend"), snapshot)] == ["backend-older", "backend-pod"]
    found = best_pod(ref("backend"), snapshot)
    assert found is not None and found[0]["metadata"]["name"] == "backend-pod" and found[1]


class Talking(FakeKube):
    """Every run of a container says its own lines; a stream may break."""

    def __init__(self, said: dict[str, list[str]]) -> None:
        super().__init__()
        self.said = said
        self.asked: list[tuple[str, int]] = []
        self.broken: set[str] = set()

    def follow(
        self, namespace: str, pod: str, container: str, *, tail: int, previous: bool, follow: bool
    ) -> Generator[str, None, None]:
        self.asked.append((pod, tail))
        yield from self.said[pod][-tail:] if tail else ()
        if pod in self.broken:
            raise ConnectionError("gone")


def source(pod: str, run: str = "c1") -> Source:
    return Source("s", "default", pod, f"uid-{pod}", "app", run, True, True)


def test_following_goes_on_with_replaced_pods_and_reopens_broken_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_LOOK_SECONDS", 0.02)
    monkeypatch.setattr(logs, "_REOPEN_SECONDS", 0.05)
    kube = Talking({"a": ["a1", "a2", "a3"], "b": ["b1", "b2"]})
    kube.broken = {"a"}
    looks = iter([[source("a")], [source("a")], [source("a", "c2"), source("b")]])
    last = [source("b")]
    lines = follow(kube.follow, lambda: next(looks, last), tail=1)
    seen = [(line.source.pod, line.text) for line in islice(lines, 6)]
    # The first look shows the tail; what comes later is shown from its beginning.
    assert seen[0] == ("a", "a3")
    assert sorted(seen[1:]) == [("a", "a1"), ("a", "a2"), ("a", "a3"), ("b", "b1"), ("b", "b2")]
    kube.said["b"].append("b3")
    assert ("b", 0) not in kube.asked
    waited = follow(kube.follow, lambda: last, tail=1)
    assert next(waited).text == "b3"
