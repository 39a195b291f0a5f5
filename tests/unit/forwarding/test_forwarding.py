from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deployer import forwarding
from deployer.config.spec import Cluster, Spec
from deployer.core.errors import DeployError
from deployer.core.steps import SystemClock
from deployer.forwarding import Forward, PortMapping, supervise, with_urls
from deployer.forwarding import ports as state
from deployer.forwarding.ports import choose
from deployer.forwarding.relay import backends, listen
from deployer.plan import UrlPlan
from tests.fakes import FakeKube
from tests.fakes.play import played
from tests.fakes.shop import Shop
from tests.processes import runs

WEB, CHAT = ("shop", "web", ""), ("shop", "chat", "")


def spec(**more: object) -> Spec:
    urls = {"web": {"service": "web", "nodePort": 30000}, "api": {"service": "web", "path": "/api"},
            "chat": {"service": "chat", "namespace": "other"}, "site": {"ingressHost": "shop.local"}}  # fmt: skip
    document = {"apiVersion": "todo-deploy/v1", "application": "shop", "namespace": "shop",
                "releases": {"web": {"chart": "chart"}}, "urls": urls}  # fmt: skip
    return Spec.model_validate({**document, **more})


def asked(setting: str, tmp_path: Path, *, answers: bool = False, **more: object) -> Forward | None:
    wanted = spec(forward=setting, **more)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("deployer.forwarding.ports.reachable", lambda *_: answers)
        return forwarding.wanted(wanted, "192.0.2.1", tmp_path, tmp_path / "config")


def test_a_node_that_answers_needs_no_forward(tmp_path: Path) -> None:
    assert asked("auto", tmp_path, answers=True) is None
    assert asked("never", tmp_path) is None
    assert asked("always", tmp_path, urls={}) is None
    assert asked("auto", tmp_path) is not None
    assert asked("always", tmp_path, answers=True) is not None


def test_a_closed_port_is_no_answer() -> None:
    assert forwarding.reachable("127.0.0.1") is False


def test_urls_of_one_service_share_a_port_mapping_and_ports_do_not_change_from_run_to_run(tmp_path: Path) -> None:
    first, second = asked("always", tmp_path), asked("always", tmp_path)
    assert first is not None and second is not None
    assert [mapping.target for mapping in first.mappings] == ["shop/web", "other/chat", "ingress"]
    assert len(set(first.local.values())) == 3
    assert first.mappings == second.mappings


def test_a_nodeport_keeps_its_number_where_that_is_free() -> None:
    taken = {30000, 30001}
    chosen = choose({WEB: 30000, CHAT: 30000}, {}, lambda port: port not in taken)
    assert dict(chosen) == {WEB: 30002, CHAT: 30003}
    assert dict(choose({WEB: 30000}, {}, lambda _: True)) == {WEB: 30000}


def test_who_must_give_way_takes_nobody_elses_number() -> None:
    chosen = choose({WEB: 30000, CHAT: 30001}, {}, lambda port: port != 30000)
    assert dict(chosen) == {WEB: 30002, CHAT: 30001}


def test_a_port_mapping_keeps_its_port_while_it_can() -> None:
    assert dict(choose({WEB: 30000}, {WEB: 30007}, lambda _: True)) == {WEB: 30007}
    assert dict(choose({WEB: 30000}, {WEB: 30007}, lambda port: port != 30007)) == {WEB: 30000}


def endpoints(*pods: str, ready: bool = True, port: int = 8080, name: str = "http") -> dict[str, object]:
    return {"kind": "EndpointSlice", "metadata": {"name": f"web-{'-'.join(pods)}", "namespace": "shop",
                                                  "labels": {"kubernetes.io/service-name": "web"}},
            "ports": [{"name": name, "port": port}],
            "endpoints": [{"conditions": {"ready": ready}, "targetRef": {"kind": "Pod", "name": pod}}
                          for pod in pods]}  # fmt: skip


def cluster() -> FakeKube:
    kube = FakeKube()
    ports = [{"name": "http", "port": 80}, {"name": "admin", "port": 81}]
    kube.put({"kind": "Service", "metadata": {"name": "web", "namespace": "shop"}, "spec": {"ports": ports}})
    return kube


def test_a_url_of_an_earlier_revision_is_forwarded_beside_those_of_the_spec() -> None:
    now = Forward(Path("folder"), Path("kubeconfig"), Cluster(), (PortMapping(*WEB, 30000),))
    old = UrlPlan("old", "default", "old", None, None, "/", 200, True)
    web = UrlPlan("web", WEB[0], WEB[1], None, WEB[2] or None, "/", 200, True)
    local = with_urls(now, (web, old)).local
    assert local[WEB] == 30000
    assert set(local) == {WEB, ("default", "old", "")}
    assert with_urls(now, (web,)) == now


def test_a_port_mapping_leads_to_ready_pods() -> None:
    kube = cluster()
    kube.put(endpoints("one", "two"))
    kube.put(endpoints("starting", ready=False))
    assert backends(PortMapping("shop", "web", "", 1), kube) == [("shop", "one", 8080), ("shop", "two", 8080)]
    assert (
        backends(PortMapping("shop", "web", "80", 1), kube)
        == backends(PortMapping("shop", "web", "http", 1), kube)
        != []
    )
    assert backends(PortMapping("shop", "web", "admin", 1), kube) == []
    assert backends(PortMapping("shop", "web", "82", 1), kube) == []
    assert backends(PortMapping("shop", "gone", "", 1), kube) == []


def test_the_ingress_is_who_answers_at_port_80_of_a_node() -> None:
    kube = FakeKube()
    for name, phase, ports in (("controller", "Running", [{"containerPort": 8000, "hostPort": 80}]),
                               ("done", "Succeeded", [{"containerPort": 8000, "hostPort": 80}]),
                               ("web", "Running", [{"containerPort": 80}])):  # fmt: skip
        kube.put({"kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "status": {"phase": phase},
                  "spec": {"containers": [{"ports": ports}]}})  # fmt: skip
    assert backends(PortMapping("", "", "", 1), kube) == [("default", "controller", 8000)]


class Pod:
    """A server that answers each line with its own name, until it is stopped."""

    def __init__(self, name: str) -> None:
        self.name, self.visits = name, 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def address(self) -> tuple[str, int]:
        return self._server.getsockname()[:2]

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            self.visits += 1
            with client:
                while client.recv(100):
                    client.sendall(self.name.encode())

    def stop(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)  # an accept that waits is not ended by closing alone
        self._server.close()
        self._thread.join(5)


@pytest.fixture
def pods() -> Iterator[Callable[[str], Pod]]:
    made: list[Pod] = []

    def make(name: str) -> Pod:
        made.append(Pod(name))
        return made[-1]

    yield make
    for pod in made:
        if pod._thread.is_alive():
            pod.stop()


@pytest.fixture
def mapping() -> PortMapping:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return PortMapping("shop", "web", "", probe.getsockname()[1])


@pytest.fixture
def relayed(mapping: PortMapping) -> Iterator[FakeKube]:
    kube = cluster()
    server = listen(mapping, lambda: kube)
    yield kube
    server.shutdown(socket.SHUT_RDWR)
    server.close()


def ask(mapping: PortMapping, *, half_closed: bool = False) -> str:
    with socket.create_connection(("127.0.0.1", mapping.local), timeout=10) as client:
        client.sendall(b"who?")
        if half_closed:
            client.shutdown(socket.SHUT_WR)
        return client.recv(100).decode()


def test_a_replaced_pod_is_followed_and_one_that_does_not_answer_is_passed_over(
    relayed: FakeKube, mapping: PortMapping, pods: Callable[[str], Pod]
) -> None:
    one, two = pods("one"), pods("two")
    relayed.put(endpoints("one"))
    relayed.pod_addresses["shop", "one", 8080] = one.address
    relayed.pod_addresses["shop", "two", 8080] = two.address
    assert ask(mapping) == "one"
    one.stop()
    relayed.put(endpoints("two"))  # the endpoint of the first one is still listed, as at the moment of a kill
    assert {ask(mapping) for _ in range(4)} == {"two"}


def test_who_comes_while_no_pod_is_ready_waits_for_one(
    relayed: FakeKube, mapping: PortMapping, pods: Callable[[str], Pod]
) -> None:
    late = pods("late")
    relayed.pod_addresses["shop", "late", 8080] = late.address
    timer = threading.Timer(0.6, lambda: relayed.put(endpoints("late")))
    timer.start()
    assert ask(mapping) == "late"
    timer.join()


def test_who_has_said_all_still_hears_the_answer(
    relayed: FakeKube, mapping: PortMapping, pods: Callable[[str], Pod]
) -> None:
    pod = pods("one")
    relayed.put(endpoints("one"))
    relayed.pod_addresses["shop", "one", 8080] = pod.address
    assert ask(mapping, half_closed=True) == "one"


def test_a_connection_that_sends_nothing_reaches_no_pod(
    relayed: FakeKube, mapping: PortMapping, pods: Callable[[str], Pod]
) -> None:
    pod = pods("one")
    relayed.put(endpoints("one"))
    relayed.pod_addresses["shop", "one", 8080] = pod.address
    socket.create_connection(("127.0.0.1", mapping.local), timeout=5).close()
    assert ask(mapping) == "one"
    assert pod.visits == 1


def eventually(true: Callable[[], object], seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.05)
    return False


def is_open(mapping: PortMapping) -> bool:
    try:
        socket.create_connection(("127.0.0.1", mapping.local), timeout=1).close()
    except OSError:
        return False
    return True


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture
def forward(tmp_path: Path, mapping: PortMapping) -> Iterator[Forward]:
    (tmp_path / "config").write_text("contexts: [{name: todo-deploy, context: {}}]\n")
    yield Forward(tmp_path / "deployment", tmp_path / "config", spec().cluster, (mapping,))
    forwarding.stop(tmp_path / "deployment")


def start(forward: Forward) -> bool:
    return bool(played(forwarding.ensure(forward, dict(os.environ), SystemClock()))[1])


def test_the_background_process_comes_back_whichever_half_is_killed_and_is_gone_after_stop(forward: Forward) -> None:
    mapping = forward.mappings[0]
    assert start(forward) is True
    assert start(forward) is False
    supervisor = forwarding.known(forward.folder).pid
    assert supervisor is not None
    (relay,) = children(supervisor)

    os.kill(relay, signal.SIGKILL)
    assert eventually(lambda: children(supervisor) not in ([], [relay]) and is_open(mapping))
    assert forwarding.known(forward.folder).pid == supervisor

    os.kill(supervisor, signal.SIGKILL)
    assert eventually(lambda: forwarding.known(forward.folder).pid not in (None, supervisor) and is_open(mapping))

    last = forwarding.known(forward.folder).pid
    assert last is not None
    (relay,) = children(last)
    assert forwarding.stop(forward.folder) is True
    assert eventually(lambda: not runs(last) and not runs(relay))
    assert forwarding.stop(forward.folder) is False
    assert forwarding.known(forward.folder) == forwarding.NOTHING
    assert not is_open(mapping)


def test_other_port_mappings_are_another_process_and_a_deleted_file_ends_it(forward: Forward) -> None:
    start(forward)
    first = forwarding.known(forward.folder).pid
    other = replace(forward.mappings[0], service="chat")
    assert start(replace(forward, mappings=(other,))) is True
    second = forwarding.known(forward.folder).pid
    assert first is not None and second is not None and second != first
    assert eventually(lambda: not runs(first))
    state.forget(forward.folder)
    assert eventually(lambda: not runs(second))


def test_a_port_that_does_not_open_is_reported_with_the_reason(
    forward: Forward, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployer.forwarding.supervise._START_TIMEOUT_SECONDS", 60.0)
    unopenable = replace(forward, mappings=(PortMapping("shop", "web", "", 70000),))
    with pytest.raises(DeployError) as caught:
        start(unopenable)
    (problem,) = caught.value.problems
    assert problem.code == "FORWARD_FAILED"
    assert "70000" in problem.detail or "port" in problem.detail


def test_down_ends_it(tmp_path: Path, mapping: PortMapping, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(tmp_path, monkeypatch)
    folder = shop.here.state_dir / "deployments" / "todo-deploy.shop"
    played(shop.up("1"))
    start(Forward(folder, tmp_path / "config", spec().cluster, (mapping,)))
    pid = forwarding.known(folder).pid
    assert pid is not None
    played(shop.down())
    assert forwarding.known(folder) == forwarding.NOTHING
    assert eventually(lambda: not runs(pid))


def test_an_up_that_needs_none_ends_what_an_earlier_one_left(
    tmp_path: Path, mapping: PortMapping, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(tmp_path, monkeypatch)
    folder = shop.here.state_dir / "deployments" / "todo-deploy.shop"
    start(Forward(folder, tmp_path / "config", spec().cluster, (mapping,)))
    played(shop.up("1"))
    assert forwarding.known(folder) == forwarding.NOTHING


def test_a_pid_file_that_names_another_process_by_now_ends_nobody(tmp_path: Path) -> None:
    """Its lock is held by whoever looks, or inherited; the number is that of a process that began at another time."""
    other = subprocess.Popen(["sleep", "60"])
    try:
        with (tmp_path / "forward.pid").open("w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            stream.write(f"{other.pid} 1")
            stream.flush()
            assert state.running(tmp_path) is None
            assert supervise.stop(tmp_path) is False
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_supervisor_that_seems_to_run_for_a_moment_after_its_end_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = iter((4711, 4711, None))
    started: list[Path] = []
    monkeypatch.setattr(supervise.ports, "running", lambda _: next(seen))
    monkeypatch.setattr(supervise, "_over", lambda *_: False)
    monkeypatch.setattr(supervise, "_start", lambda folder, _: started.append(folder))
    supervise.outlived(tmp_path, state.Written("token", "p", "k", "minikube", "c", ()), {})
    assert started == [tmp_path]
