from __future__ import annotations

import base64
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from deployer.core.errors import DeployError, ExitCode
from deployer.core.ports import STRATEGIC_PATCH, Object
from tests.contract.conftest import BOTH, Clients
from tests.fakes import FakeKube

pytestmark = BOTH


def config(clients: Clients, name: str, data: dict[str, str], **metadata: object) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": clients.namespace, **metadata},
        "data": data,
    }


def secret(clients: Clients, name: str, value: str, **more: object) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": clients.namespace},
        "type": "Opaque",
        "data": {"KEY": base64.b64encode(value.encode()).decode()},
        **more,
    }


def refusal(caught: pytest.ExceptionInfo[DeployError]) -> tuple[str, ExitCode]:
    return caught.value.problems[0].code, caught.value.exit_code


def test_it_is_ready_and_reports_its_version(clients: Clients) -> None:
    assert clients.kube.ready()
    assert re.fullmatch(r"v1\.\d+\.\d+.*", clients.kube.version())


def test_what_was_created_is_read_back(clients: Clients) -> None:
    made = clients.kube.create(config(clients, "one", {"a": "1"}))
    found = clients.kube.get("ConfigMap", clients.namespace, "one")
    assert found is not None
    assert found["data"] == {"a": "1"}
    assert found["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    assert found["metadata"]["uid"] and found["metadata"]["creationTimestamp"]
    assert found["kind"] == "ConfigMap"


def test_what_is_not_there_is_none_and_not_an_error(clients: Clients) -> None:
    assert clients.kube.get("ConfigMap", clients.namespace, "absent") is None
    assert clients.kube.get("ConfigMap", "no-such-namespace", "absent") is None
    assert clients.kube.get("Namespace", "", "no-such-namespace") is None
    assert clients.kube.list("ConfigMap", "no-such-namespace") == []
    assert clients.kube.patch("ConfigMap", clients.namespace, "absent", {"data": {}}) is None
    assert clients.kube.delete("ConfigMap", clients.namespace, "absent") is False


def test_a_dry_run_judges_and_changes_nothing(clients: Clients) -> None:
    """New objects, patches of what is there, and what cannot become another."""
    kind = clients.kube.kinds()["v1", "ConfigMap"]
    one = config(clients, "one", {"a": "1"})
    assert clients.kube.dry_run(kind, one).accepted
    assert clients.kube.get("ConfigMap", clients.namespace, "one") is None
    assert clients.kube.dry_run(kind, one, STRATEGIC_PATCH).status == 404
    clients.kube.create(one)
    assert clients.kube.dry_run(kind, one).status == 409
    other = config(clients, "one", {"a": "2"})
    assert clients.kube.dry_run(kind, other, STRATEGIC_PATCH).accepted
    found = clients.kube.get("ConfigMap", clients.namespace, "one")
    assert found is not None and found["data"] == {"a": "1"}


def test_the_server_names_the_field_that_it_does_not_take(clients: Clients) -> None:
    if isinstance(clients.kube, FakeKube):
        pytest.skip("the fake validates nothing")
    kinds = clients.kube.kinds()
    frozen = {**config(clients, "frozen", {"a": "1"}), "immutable": True}
    clients.kube.create(frozen)
    changed = clients.kube.dry_run(kinds["v1", "ConfigMap"], {**frozen, "data": {"a": "2"}}, STRATEGIC_PATCH)
    assert (changed.status, [field for field, _ in changed.causes]) == (422, ["data"])
    metadata = {"name": "s", "namespace": clients.namespace}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"prots": [], "ports": [{"port": 80}]},
    }
    known = clients.kube.dry_run(kinds["v1", "Service"], service)
    assert known.accepted
    assert known.warnings == ('unknown field "spec.prots"',)
    wrong = clients.kube.dry_run(kinds["v1", "Service"], {**service, "spec": {"ports": [{"port": 0}]}})
    assert wrong.status == 422
    assert "spec.ports[0].port" in [field for field, _ in wrong.causes]
    with pytest.raises(DeployError) as caught:
        clients.kube.create({**service, "spec": {"ports": [{"port": 0}]}})
    assert refusal(caught) == ("API_INVALID", ExitCode.INPUT)


def test_a_second_object_of_a_name_is_refused(clients: Clients) -> None:
    clients.kube.create(config(clients, "one", {"a": "1"}))
    with pytest.raises(DeployError) as caught:
        clients.kube.create(config(clients, "one", {"a": "2"}))
    assert refusal(caught) == ("API_ALREADYEXISTS", ExitCode.REFUSED)


def test_writing_into_what_is_not_there_is_an_explained_failure(clients: Clients) -> None:
    body = config(clients, "one", {})
    for write in (clients.kube.create, clients.kube.apply, clients.kube.replace):
        with pytest.raises(DeployError) as caught:
            write({**body, "metadata": {"name": "one", "namespace": "no-such-namespace"}})
        assert refusal(caught) == ("API_NOTFOUND", ExitCode.MACHINE)


def test_apply_makes_and_then_changes(clients: Clients) -> None:
    clients.kube.apply(config(clients, "one", {"a": "1"}))
    clients.kube.apply(config(clients, "one", {"a": "2"}, labels={"x": "y"}))
    found = clients.kube.get("ConfigMap", clients.namespace, "one")
    assert found is not None
    assert (found["data"], found["metadata"]["labels"]) == ({"a": "2"}, {"x": "y"})


def test_applying_the_same_again_changes_nothing(clients: Clients) -> None:
    first = clients.kube.apply(config(clients, "one", {"a": "1"}))
    again = clients.kube.apply(config(clients, "one", {"a": "1"}))
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


def test_a_replacement_of_what_has_changed_meanwhile_is_refused(clients: Clients) -> None:
    old = clients.kube.create(config(clients, "one", {"a": "1"}))
    new = clients.kube.replace({**old, "data": {"a": "2"}})
    assert new["metadata"]["resourceVersion"] != old["metadata"]["resourceVersion"]
    with pytest.raises(DeployError) as caught:
        clients.kube.replace({**old, "data": {"a": "3"}})
    assert refusal(caught) == ("API_CONFLICT", ExitCode.REFUSED)
    found = clients.kube.get("ConfigMap", clients.namespace, "one")
    assert found is not None
    assert found["data"] == {"a": "2"}


def test_a_replacement_keeps_nothing_that_it_does_not_name(clients: Clients) -> None:
    clients.kube.create(config(clients, "one", {"a": "1"}, labels={"x": "y"}))
    clients.kube.replace(config(clients, "one", {"b": "2"}))
    found = clients.kube.get("ConfigMap", clients.namespace, "one")
    assert found is not None
    assert found["data"] == {"b": "2"}
    assert not found["metadata"].get("labels")


def test_a_patch_changes_what_it_names_and_null_takes_away(clients: Clients) -> None:
    clients.kube.create(config(clients, "one", {"a": "1", "b": "2"}, labels={"x": "y"}))
    clients.kube.patch("ConfigMap", clients.namespace, "one", {"metadata": {"labels": {"z": "1"}}, "data": {"b": None}})
    found = clients.kube.get("ConfigMap", clients.namespace, "one")
    assert found is not None
    assert (found["data"], found["metadata"]["labels"]) == ({"a": "1"}, {"x": "y", "z": "1"})


def test_what_was_deleted_is_gone(clients: Clients) -> None:
    clients.kube.create(config(clients, "one", {}))
    assert clients.kube.delete("ConfigMap", clients.namespace, "one") is True
    assert clients.kube.get("ConfigMap", clients.namespace, "one") is None


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("", ["a", "b", "c"]),
        ("app=x", ["a", "b"]),
        ("app=x,tier=1", ["a"]),
        ("app!=x", ["c"]),
        ("tier", ["a", "c"]),
        ("app=nothing", []),
    ],
)
def test_lists_are_selected_by_label(clients: Clients, selector: str, names: list[str]) -> None:
    for name, labels in (("a", {"app": "x", "tier": "1"}), ("b", {"app": "x"}), ("c", {"tier": "2"})):
        clients.kube.create(config(clients, name, {}, labels=labels))
    found = clients.kube.list("ConfigMap", clients.namespace, labels=selector)
    ours = [one["metadata"]["name"] for one in found if one["metadata"]["name"] != "kube-root-ca.crt"]
    assert ours == names
    assert all(one["kind"] == "ConfigMap" for one in found)


def test_a_list_of_all_namespaces_has_ours_in_it(clients: Clients) -> None:
    clients.kube.create(config(clients, "one", {}))
    places = [(one["metadata"]["namespace"], one["metadata"]["name"]) for one in clients.kube.list("ConfigMap")]
    assert (clients.namespace, "one") in places


def test_a_list_of_metadata_has_no_data(clients: Clients) -> None:
    clients.kube.create(secret(clients, "one", "canary"))
    (found,) = clients.kube.list("Secret", clients.namespace, metadata_only=True)
    assert found["metadata"]["name"] == "one"
    assert (found["kind"], "data" in found) == ("Secret", False)


def test_an_immutable_secret_cannot_be_changed_and_the_refusal_has_no_value(clients: Clients) -> None:
    clients.kube.create(secret(clients, "one", "first", immutable=True))
    with pytest.raises(DeployError) as caught:
        clients.kube.replace(secret(clients, "one", "canary", immutable=True))
    assert refusal(caught) == ("API_INVALID", ExitCode.INPUT)
    shown = repr(caught.value.problems)
    assert "canary" not in shown and base64.b64encode(b"canary").decode() not in shown


def test_a_secrets_type_cannot_be_changed(clients: Clients) -> None:
    clients.kube.create(secret(clients, "one", "x"))
    with pytest.raises(DeployError) as caught:
        clients.kube.replace(secret(clients, "one", "x", type="example.com/other"))
    assert refusal(caught)[0] == "API_INVALID"


def test_logs_of_a_pod_that_is_not_there_are_empty(clients: Clients) -> None:
    assert list(clients.kube.logs(clients.namespace, "absent", "main")) == []
    assert list(clients.kube.follow(clients.namespace, "absent", "main", tail=5, previous=False, follow=False)) == []


def test_what_a_node_measures_is_known_and_of_a_node_that_is_not_there_nothing(clients: Clients) -> None:
    assert clients.kube.free_disk("no-such-node") is None
    assert clients.kube.memory_in_use("no-such-node") == {}
    for node in clients.kube.list("Node"):
        name = node["metadata"]["name"]
        assert (clients.kube.free_disk(name) or 0) > 2**20
        used = clients.kube.memory_in_use(name)
        assert any(namespace == "kube-system" and pod.startswith("etcd") for namespace, pod, _ in used)
        assert all(size > 0 for size in used.values())


def test_an_object_that_is_as_wanted_already_is_not_waited_for(clients: Clients) -> None:
    clients.kube.create(config(clients, "one", {"a": "1"}))
    clients.kube.create(config(clients, "two", {"a": "2"}))
    assert clients.kube.awaited("ConfigMap", clients.namespace, "one", lambda one: one["data"] == {"a": "1"}, 5)
    assert not clients.kube.awaited("ConfigMap", clients.namespace, "one", lambda one: one["data"] == {"a": "2"}, 0.5)
    assert not clients.kube.awaited("ConfigMap", "no-such-namespace", "one", lambda _: True, 0.5)


def test_a_change_that_is_waited_for_is_seen_when_it_comes(clients: Clients) -> None:
    clients.kube.create(config(clients, "one", {"a": "1"}))
    changed: list[float] = []

    def change() -> None:
        clients.kube.patch("ConfigMap", clients.namespace, "one", {"data": {"a": "2"}})
        changed.append(time.monotonic())

    later = threading.Timer(1, change)
    if isinstance(clients.kube, FakeKube):
        clients.kube.clock.at(1, change)
    else:
        later.start()
    assert clients.kube.awaited("ConfigMap", clients.namespace, "one", lambda one: one["data"] == {"a": "2"}, 30)
    seen = time.monotonic()
    if later.is_alive():
        later.join()
    assert seen - changed[0] < 2


def test_a_pod_that_is_not_there_does_not_answer(clients: Clients) -> None:
    with pytest.raises(OSError):
        clients.kube.ask_pod(clients.namespace, "absent", 8000, "GET", "/", {})


def test_lists_are_selected_by_field(clients: Clients) -> None:
    def event(name: str, reason: str) -> Object:
        about = {"kind": "Pod", "namespace": clients.namespace, "name": "p"}
        return {"apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": clients.namespace},
                "involvedObject": about, "reason": reason, "message": "m", "type": "Normal"}  # fmt: skip

    for name, reason in (("a", "Pulled"), ("b", "Killing"), ("c", "Started")):
        clients.kube.create(event(name, reason))
    found = clients.kube.list("Event", clients.namespace, fields="reason!=Pulled,reason!=Started")
    assert [one["metadata"]["name"] for one in found] == ["b"]
    assert not any("managedFields" in one["metadata"] for one in found)


@pytest.fixture
def speaking(kind: str, clients: Clients) -> Iterator[tuple[str, str]]:
    """Namespace and name of a pod that speaks HTTP on port 8181 and on nothing near it."""
    if kind == "real":  # where a cluster's name server says whether it is ready
        found = clients.kube.list("Pod", "kube-system", labels="k8s-app=kube-dns")
        yield "kube-system", found[0]["metadata"]["name"]
        return
    assert isinstance(clients.kube, FakeKube)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            peer, _ = server.accept()
            with peer, suppress(OSError):
                peer.recv(1000)
                peer.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nOK")

        thread = threading.Thread(target=answer)
        thread.start()
        clients.kube.pod_addresses["default", "dns", 8181] = server.getsockname()[:2]
        yield "default", "dns"
        thread.join()


def test_a_connection_to_a_pod_carries_bytes_both_ways_until_the_pod_ends_it(
    clients: Clients, speaking: tuple[str, str]
) -> None:
    connection = clients.kube.connect_pod(*speaking, 8181)
    connection.send(b"GET /ready HTTP/1.1\r\nHost: dns\r\nConnection: close\r\n\r\n")
    said = b""
    while more := connection.receive():
        said += more
    connection.close()
    assert said.startswith(b"HTTP/1.1 200 OK")
    assert said.endswith(b"OK")


def test_a_pod_that_is_not_there_cannot_be_connected_to(clients: Clients) -> None:
    with pytest.raises(OSError):
        clients.kube.connect_pod(clients.namespace, "no-such-pod", 80).receive()


def test_who_waits_for_a_pod_is_woken(clients: Clients, speaking: tuple[str, str]) -> None:
    connection = clients.kube.connect_pod(*speaking, 8181)

    def wait() -> None:
        with suppress(OSError):
            connection.receive()

    waiting = threading.Thread(target=wait)
    waiting.start()
    connection.interrupt()
    waiting.join(10)
    assert not waiting.is_alive()
    connection.close()
