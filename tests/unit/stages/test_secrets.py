from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from deployer.core.errors import ExitCode
from deployer.core.ports import APPLICATION_LABEL
from deployer.core.steps import Outcome
from deployer.plan import Plan, SecretPlan
from deployer.stages.secrets import MANAGED_BY, KeptSecret, await_leaving, ensure_secrets, secret_objects
from tests.fakes import FakeClock, FakeKube
from tests.fakes.play import code, failed, items, played


def plan(value: str = "one", *, stable: bool = True, namespace: str = "default") -> SecretPlan:
    checksum = base64.b16encode(value.encode().ljust(8, b"_")).decode().lower()
    return SecretPlan(
        name="app",
        namespace=namespace,
        copy=f"app-{checksum[:8]}",
        stable="app" if stable else None,
        type="Opaque",
        labels={"app": "todo"},
        checksum=checksum,
        checksums={"KEY": checksum},
        data={"KEY": value, "EMPTY": ""},
    )


def of(*secrets: SecretPlan, application: str = "todo", namespace: str = "default") -> Plan:
    """The plan of an application that has these Secrets and nothing else."""
    return Plan(application, namespace, (), secrets, (), ())


def ensured(kube: FakeKube, *secrets: SecretPlan, adopt: bool = False) -> Outcome[tuple[KeptSecret, ...]]:
    return played(ensure_secrets(of(*secrets), kube, adopt=adopt))[1]


def value_of(kube: FakeKube, name: str, key: str = "KEY") -> str:
    found = kube.get("Secret", "default", name)
    assert found is not None
    return base64.b64decode(found["data"][key]).decode()


def foreign(**more: object) -> dict[str, object]:
    return {"kind": "Secret", "metadata": {"name": "app", "namespace": "default"}, "type": "Opaque", **more}


def test_a_stable_secret_is_made_with_its_immutable_copy() -> None:
    kube, secret = FakeKube(), plan()
    outcome = ensured(kube, secret)
    assert outcome.changed
    assert kube.names("Secret") == ["app", secret.copy]
    assert (value_of(kube, "app"), value_of(kube, secret.copy), value_of(kube, "app", "EMPTY")) == ("one", "one", "")
    served, copy = kube.get("Secret", "default", "app"), kube.get("Secret", "default", secret.copy)
    assert served is not None and copy is not None
    assert "immutable" not in served and copy["immutable"] is True
    labels = served["metadata"]["labels"]
    assert (labels["app"], labels[APPLICATION_LABEL], labels[MANAGED_BY]) == ("todo", "todo", "todo-deploy")
    assert outcome.value[0].served == "app"


def test_a_hashed_secret_is_its_copy_alone() -> None:
    kube, secret = FakeKube(), plan(stable=False)
    outcome = ensured(kube, secret)
    assert kube.names("Secret") == [secret.copy]
    assert outcome.value[0].served == secret.copy


def test_a_second_run_writes_nothing() -> None:
    kube = FakeKube()
    ensured(kube, plan(), plan(stable=False))
    kube.writes.clear()
    outcome = ensured(kube, plan(), plan(stable=False))
    assert (outcome.changed, kube.writes, outcome.text) == (False, [], "2 unchanged")


def test_a_changed_value_updates_the_stable_secret_and_leaves_the_old_copy() -> None:
    kube, old, new = FakeKube(), plan("one"), plan("two")
    ensured(kube, old)
    outcome = ensured(kube, new)
    assert outcome.changed
    assert value_of(kube, "app") == "two"
    assert (value_of(kube, old.copy), value_of(kube, new.copy)) == ("one", "two")


def test_going_back_to_an_old_value_finds_its_copy() -> None:
    kube = FakeKube()
    for value in ("one", "two"):
        ensured(kube, plan(value))
    kube.writes.clear()
    ensured(kube, plan("one"))
    assert kube.writes == [("replace", "Secret", "default", "app")]
    assert value_of(kube, "app") == "one"


def test_a_key_that_left_the_spec_leaves_the_secret() -> None:
    kube = FakeKube()
    ensured(kube, plan())
    ensured(kube, replace(plan("two"), data={"OTHER": "two"}))
    found = kube.get("Secret", "default", "app")
    assert found is not None
    assert set(found["data"]) == {"OTHER"}


def test_somebody_elses_secret_is_refused_untouched() -> None:
    kube = FakeKube()
    before = kube.put(foreign(data={"KEY": "eA=="}))
    _, error = failed(ensure_secrets(of(plan()), kube, adopt=False))
    assert (code(error), error.exit_code) == ("SECRET_FOREIGN", ExitCode.REFUSED)
    assert kube.get("Secret", "default", "app") == before


def test_the_secret_of_another_application_is_refused_with_its_name() -> None:
    kube = FakeKube()
    played(ensure_secrets(of(plan(), application="other"), kube, adopt=False))
    _, error = failed(ensure_secrets(of(plan()), kube, adopt=False))
    assert code(error) == "SECRET_TAKEN"
    assert "`other`" in error.problems[0].title
    _, error = failed(ensure_secrets(of(plan()), kube, adopt=True))
    assert code(error) == "SECRET_TAKEN", "what another application has made is not taken over"


def test_an_adopted_secret_becomes_ours() -> None:
    kube = FakeKube()
    kube.put(foreign(data={"KEY": "eA=="}))
    assert ensured(kube, plan(), adopt=True).changed
    assert value_of(kube, "app") == "one"
    assert not ensured(kube, plan()).changed


def test_an_adopted_secret_of_the_same_content_gets_our_labels() -> None:
    kube = FakeKube()
    kube.put(foreign(data=secret_objects("todo", plan())[0]["data"]))
    ensured(kube, plan(), adopt=True)
    found = kube.get("Secret", "default", "app")
    assert found is not None
    assert found["metadata"]["labels"][APPLICATION_LABEL] == "todo"


@pytest.mark.parametrize("shape", [{"immutable": True}, {"type": "kubernetes.io/tls"}])
def test_what_cannot_be_changed_in_place_is_made_anew(shape: dict[str, object]) -> None:
    kube = FakeKube()
    kube.put(foreign(data={"KEY": "eA=="}, **shape) if "type" not in shape else {**foreign(), **shape})
    ensured(kube, plan(), adopt=True)
    found = kube.get("Secret", "default", "app")
    assert found is not None
    assert (value_of(kube, "app"), found["type"], found.get("immutable")) == ("one", "Opaque", None)


def test_a_missing_namespace_is_made_as_ours() -> None:
    kube = FakeKube()
    events, _ = played(ensure_secrets(of(plan(namespace="fresh"), namespace="fresh"), kube, adopt=False))
    namespace = kube.get("Namespace", "", "fresh")
    assert namespace is not None
    assert namespace["metadata"]["labels"][MANAGED_BY] == "todo-deploy"
    assert ("namespace fresh", "done", "created") in items(events)


def test_a_namespace_that_is_there_is_not_relabelled() -> None:
    kube = FakeKube()
    ensured(kube)
    assert kube.writes == []


def test_a_terminating_namespace_is_refused_before_anything_is_written() -> None:
    kube = FakeKube()
    kube.put({"kind": "Namespace", "metadata": {"name": "going", "deletionTimestamp": kube.clock.stamp()}})
    _, error = failed(ensure_secrets(of(plan(namespace="going"), namespace="going"), kube, adopt=False))
    assert (code(error), error.exit_code, kube.writes) == ("NAMESPACE_TERMINATING", ExitCode.REFUSED, [])


def test_events_carry_no_value() -> None:
    kube = FakeKube()
    events, outcome = played(ensure_secrets(of(plan("canary-value")), kube, adopt=False))
    assert "canary-value" not in repr((events, outcome, plan("canary-value")))


def test_a_namespace_on_its_way_out_is_waited_for() -> None:
    clock = FakeClock()
    kube = FakeKube(clock)
    for name in ("going", "staying"):
        kube.put({"kind": "Namespace", "metadata": {"name": name, "deletionTimestamp": clock.stamp()}})
    clock.at(5, lambda: kube.drop("Namespace", "", "going"))
    events, _ = played(await_leaving(["default", "going", "missing"], kube, clock))
    assert [one[:2] for one in items(events)] == [("going", "running")]
    assert 5 <= clock.monotonic() < 7
    played(await_leaving(["staying"], kube, clock))
    assert 80 < clock.monotonic() < 120


def test_a_namespace_that_is_stuck_names_the_objects_and_their_finalizers() -> None:
    kube = FakeKube()
    gone = {"deletionTimestamp": kube.clock.stamp()}
    said = "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
    row = {"type": "NamespaceFinalizersRemaining", "status": "True", "message": said}
    kube.put({"kind": "Namespace", "metadata": {"name": "going", **gone}, "status": {"conditions": [row]}})
    for name, held in (("kept", ["example.com/hold"]), ("data", ["kubernetes.io/pvc-protection"]), ("free", [])):
        kube.put({"kind": "ConfigMap", "metadata": {"name": name, "namespace": "going", "finalizers": held, **gone}})
    events, _ = played(await_leaving(["going"], kube, kube.clock))
    assert [said in text for _, _, text in items(events)] == [True]
    _, error = failed(ensure_secrets(of(plan(namespace="going"), namespace="going"), kube, adopt=False))
    first = error.problems[0]
    assert (first.code, first.detail) == ("NAMESPACE_TERMINATING", "configmap/kept has finalizer example.com/hold")
    assert said in first.title
    assert "kubectl patch configmap kept -n going" in first.hints[0]
