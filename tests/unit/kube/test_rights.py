"""A user with rights in one namespace: what is beyond it is left out and said, and the rest is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.commands.up import UpOptions, up
from deployer.composition import begin_run
from deployer.config.load import load_spec
from deployer.core.errors import DeployError, ExitCode, Problem
from deployer.core.events import Warned
from deployer.core.ports import Object
from deployer.kube.masking import learn_secrets
from deployer.kube.rights import is_forbidden, lacking, listed, read
from deployer.stages.secrets import ensure_namespaces
from deployer.state.lock import ClusterLock, lease_name
from deployer.state.record import of_all_applications
from tests.fakes.clock import FakeClock
from tests.fakes.kube import FakeKube
from tests.fakes.play import failed, played
from tests.fakes.shop import Shop

CONTEXT = ["cluster.provider=context", "cluster.context=team"]


def limited(*namespaces: str) -> FakeKube:
    kube = FakeKube(FakeClock())
    kube.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team-anna"}})
    kube.put({"apiVersion": "v1", "kind": "ConfigMap",
              "metadata": {"name": "kube-root-ca.crt", "namespace": "team-anna"}})  # fmt: skip
    kube.allowed_in = frozenset(namespaces)
    return kube


def test_what_may_not_be_listed_is_none_and_what_is_missing_is_empty() -> None:
    kube = limited("team-anna")
    assert listed(kube, "Node") is None
    assert listed(kube, "Pod", "team-anna") == []
    assert read(kube, "Namespace", "", "team-anna") is None
    with pytest.raises(DeployError) as caught:
        kube.list("Node")
    assert is_forbidden(caught.value)


def test_what_is_not_looked_at_is_said_by_resource() -> None:
    problem = lacking(limited("team-anna"))
    assert problem is not None and problem.code == "NOT_ALLOWED"
    assert all(name in problem.title for name in ("nodes", "namespaces", "storageclasses"))
    assert lacking(FakeKube()) is None


def test_what_may_not_be_listed_in_the_applications_namespaces_is_said_with_them() -> None:
    problem = lacking(limited(), ["team-anna", "team-data"])
    assert problem is not None
    assert problem.title.endswith("ingressclasses; in team-anna, team-data: resourcequotas, limitranges")
    assert problem.detail.count("quota") == 1
    allowed = lacking(limited("team-anna"), ["team-anna"])
    assert allowed is not None and "quota" not in allowed.detail + allowed.title


def test_records_and_secret_values_of_the_own_namespaces_are_read() -> None:
    kube = limited("team-anna")
    assert of_all_applications(kube, ["team-anna"]) == ({}, ())
    learn_secrets(kube, "shop", ["team-anna"])


def test_an_up_in_ones_own_namespace_needs_no_right_beyond_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(tmp_path, monkeypatch)
    shop.write("1")
    shop.kube.allowed_in = frozenset({"default"})
    loaded = load_spec(shop.root / "todo-deploy.yaml", None, CONTEXT)
    events, done = played(up(begin_run("run-1", loaded, {"TOKEN": "token"}, shop.here), UpOptions()))
    warned = [one.problem.code for one in events if isinstance(one, Warned)]
    assert warned.count("NOT_ALLOWED") == 1 and "LOCK_SKIPPED" not in warned
    assert [one.changed for one in done.releases] == [True]
    assert {namespace for _, _, namespace, _ in shop.kube.writes} == {"default"}


def test_a_namespace_that_is_not_there_is_named_where_it_may_not_be_made() -> None:
    kube = limited("", "team-anna")

    def refuse(body: Object) -> Object:
        raise DeployError(Problem("API_FORBIDDEN", "namespaces is forbidden"), ExitCode.REFUSED)

    kube.apply = refuse  # type: ignore[method-assign]
    _, error = failed(ensure_namespaces(["team-bert"], kube))
    assert (error.problems[0].code, error.exit_code) == ("NAMESPACE_MISSING", ExitCode.REFUSED)
    assert played(ensure_namespaces(["team-anna"], limited("team-anna")))[0] == []


def test_the_lease_is_in_the_applications_namespace_once_that_is_there() -> None:
    for namespace, expected in (("team-anna", "team-anna"), ("not-there", "default")):
        kube = limited()
        kube.allowed_in = None
        lock = ClusterLock("shop", "run-1", FakeClock(), namespace)
        played(lock.take(kube))
        assert kube.get("Lease", expected, lease_name("shop")) is not None
        lock.release()
        assert kube.get("Lease", expected, lease_name("shop")) is None


def test_without_the_right_to_write_leases_the_run_goes_on_and_says_so() -> None:
    kube = limited()
    lock = ClusterLock("shop", "run-1", FakeClock(), "team-anna")
    events, _ = played(lock.take(kube))
    assert [one.problem.code for one in events if isinstance(one, Warned)] == ["LOCK_SKIPPED"]
    lock.release()
