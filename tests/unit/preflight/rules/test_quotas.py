"""What a namespace's ResourceQuotas and LimitRanges admit, reckoned before anything is built."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import pytest

from deployer.core.ports import Object, ObjectRef
from deployer.preflight.rules.judging import judge
from deployer.preflight.rules.model import Finding
from tests.unit.preflight.rules.subjects import Change, cluster, subject


def quota(scope: Any = None, **hard: Any) -> Object:
    """A quota of the application's namespace; `_` in a name stands for `.`."""
    named = {key.replace("_", "."): amount for key, amount in hard.items()}
    metadata = {"name": "team", "namespace": "default"}
    return {"kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": named, **(scope or {})}}


def limit_range(kind: str, **bounds: Object) -> Object:
    """Bounds for things of the kind in the application's namespace."""
    metadata = {"name": "bounds", "namespace": "default"}
    return {"kind": "LimitRange", "metadata": metadata, "spec": {"limits": [{"type": kind, **bounds}]}}


def pod(owner: str, memory: str = "1Gi") -> Object:
    """A pod of a Deployment."""
    owners = [{"kind": "ReplicaSet", "name": f"{owner}-5d9c7b", "controller": True}]
    box = {"resources": {"limits": {"memory": memory}}}
    return {
        "metadata": {"name": "one", "namespace": "default", "ownerReferences": owners},
        "spec": {"containers": [box]},
    }


def found(*limits: Object, pods: Iterable[Object] = (), change: Change = lambda parts: None) -> list[Finding]:
    """What is found of the good application (three pods, two of `api`) where the namespace has these."""

    def placed(parts: dict[str, Any]) -> None:
        ours = frozenset({ObjectRef("Deployment", "default", "gone")})
        quotas = tuple(one for one in limits if one["kind"] == "ResourceQuota")
        ranges = tuple(one for one in limits if one["kind"] == "LimitRange")
        parts["cluster"] = cluster(quotas=quotas, limit_ranges=ranges, pods=tuple(pods), ours=ours)
        change(parts)

    return [one for one in judge(subject(placed)) if one.rule in ("QUOTA", "LIMIT_RANGE")]


def severities(findings: Iterable[Finding]) -> list[str]:
    return [one.severity for one in findings]


@pytest.mark.parametrize(
    ("hard", "severity"),
    [
        ({"pods": "4"}, []), ({"pods": "3"}, ["warning"]), ({"pods": "2"}, ["error"]),
        ({"requests_cpu": "400m"}, []), ({"cpu": "350m"}, ["warning"]), ({"requests_cpu": "299m"}, ["error"]),
        ({"limits_memory": "384Mi"}, ["warning"]), ({"limits_memory": "383Mi"}, ["error"]),
        ({"services": "0"}, ["error"]), ({"services_nodeports": "1"}, []), ({"services_nodeports": "0"}, ["error"]),
        ({"services_loadbalancers": "0"}, []), ({"count/deployments_apps": "1"}, ["error"]),
        ({"requests_storage": "1Gi"}, []), ({"requests_storage": "1Mi"}, ["error"]),
        ({"persistentvolumeclaims": "0"}, ["error"]), ({"requests_example_com/gpu": "0"}, []),
        ({"fast_storageclass_storage_k8s_io/requests_storage": "0"}, []),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_and_the_extra_pod_is_advice(hard: dict[str, str], severity: list[str]) -> None:
    def without_scaler(parts: dict[str, Any]) -> None:
        parts["other"]["spec"]["replicas"] = 1
        parts["scaler"]["spec"]["minReplicas"] = 1

    assert severities(found(quota(**hard), change=without_scaler)) == severity


def test_the_quota_and_its_numbers_are_shown() -> None:
    (one,) = found(quota(limits_memory="256Mi"))
    assert "ResourceQuota `team` of namespace `default`" in one.problem.title
    assert "384Mi of `limits.memory`, 256Mi at most" in one.problem.title
    assert any("describe resourcequota team" in hint for hint in one.problem.hints)


def test_pods_of_others_count_and_those_that_go_do_not() -> None:
    assert severities(found(quota(limits_memory="1Gi"), pods=[pod("theirs")])) == ["error"]
    assert not found(quota(limits_memory="1Gi"), pods=[pod("gone"), pod("api")])
    waits = {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False"}]}
    assert severities(found(quota(limits_memory="1Gi"), pods=[{**pod("theirs"), "status": waits}])) == ["error"]


@pytest.mark.parametrize(
    ("scope", "severity"),
    [
        ({"scopes": ["NotTerminating"]}, ["error"]), ({"scopes": ["Terminating"]}, []),
        ({"scopes": ["BestEffort"]}, []), ({"scopes": ["NotBestEffort", "NotTerminating"]}, ["error"]),
        ({"scopes": ["CrossNamespacePodAffinity"]}, []),
        ({"scopeSelector": {"matchExpressions": [
            {"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]}}, []),
        ({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "DoesNotExist"}]}},
         ["error"]),
    ],
)  # fmt: skip
def test_a_quota_counts_the_pods_that_its_scopes_match(scope: Object, severity: list[str]) -> None:
    assert severities(found(quota(scope, pods="1"))) == severity


def test_a_container_that_does_not_say_what_a_quota_counts_is_refused_unless_a_limit_range_says_it() -> None:
    def without_limits(parts: dict[str, Any]) -> None:
        del parts["deployment"]["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]

    counted = quota(limits_cpu="2")
    (one,) = found(counted, change=without_limits)
    assert one.severity == "error"
    assert "no `limits.cpu` is set" in one.problem.title
    assert not found(counted, limit_range("Container", default={"cpu": "500m"}), change=without_limits)
    too_much = found(counted, limit_range("Container", default={"cpu": "1500m"}), change=without_limits)
    assert severities(too_much) == ["error"]


@pytest.mark.parametrize(
    ("kind", "bounds", "count"),
    [
        ("Container", {"max": {"cpu": "200m"}, "min": {"cpu": "100m"}}, 0),
        ("Container", {"max": {"cpu": "199m"}, "default": {"cpu": "199m"}}, 2),
        ("Container", {"min": {"memory": "65Mi"}}, 2),
        ("Container", {"maxLimitRequestRatio": {"memory": "2"}}, 0),
        ("Container", {"maxLimitRequestRatio": {"memory": "1500m"}}, 2),
        ("Pod", {"max": {"ephemeral-storage": "1Gi"}}, 2),
        ("PersistentVolumeClaim", {"min": {"storage": "1Gi"}, "max": {"storage": "1Gi"}}, 0),
        ("PersistentVolumeClaim", {"max": {"storage": "500Mi"}}, 1),
    ],
)
def test_what_is_out_of_bounds_is_refused(kind: str, bounds: dict[str, Any], count: int) -> None:
    assert severities(found(limit_range(kind, **bounds))) == ["error"] * count


@pytest.mark.parametrize(("selector", "severity"), [({}, ["error"]), ({"disk": "fast"}, [])])
def test_a_daemon_set_has_one_pod_for_certain_unless_it_chooses_its_nodes(
    selector: Object, severity: list[str]
) -> None:
    def change(parts: dict[str, Any]) -> None:
        pod = {"nodeSelector": selector, "containers": [{"name": "x", "image": "x:1"}]}
        template = {"metadata": {"labels": {"app": "x"}}, "spec": pod}
        spec = {"selector": {"matchLabels": {"app": "x"}}, "template": template}
        parts["agent"] = {"kind": "DaemonSet", "metadata": {"name": "x"}, "spec": spec}
        parts["more"] = ["agent"]
        nodes = ({"cpu": Fraction(4)}, {"cpu": Fraction(4)})
        parts["cluster"] = cluster(quotas=(quota({"scopes": ["BestEffort"]}, pods="0"),), nodes=nodes)

    assert severities(found(change=change)) == severity


def test_what_a_chart_makes_itself_is_in_force_instead_of_what_is_there() -> None:
    def made(*bodies: Object) -> Change:
        def change(parts: dict[str, Any]) -> None:
            parts.update({one["kind"]: {**one, "metadata": {"name": one["metadata"]["name"]}} for one in bodies})
            parts["more"] = [one["kind"] for one in bodies]

        return change

    assert severities(found(change=made(quota(pods="1")))) == ["error"]
    assert not found(quota(pods="1"), change=made(quota(pods="9")))
    without_default = limit_range("Container", max={"ephemeral-storage": "1Gi"})
    assert not found(change=made(without_default, quota(limits_ephemeral_storage="9Gi")))


def test_nothing_is_concluded_of_another_namespace() -> None:
    other = {**quota(pods="0"), "metadata": {"name": "team", "namespace": "theirs"}}
    assert not found(other)


def test_what_is_not_started_now_may_lack_what_a_quota_counts() -> None:
    def later(parts: dict[str, Any]) -> None:
        template = {"spec": {"containers": [{"name": "x", "image": "x:1"}]}}
        job = {"template": template}
        parts["job"] = {"kind": "CronJob", "metadata": {"name": "x"}, "spec": {"jobTemplate": {"spec": job}}}
        parts["more"] = ["job"]

    assert not found(quota(requests_cpu=str(Fraction(9))), change=later)


def test_objects_of_hooks_come_and_go() -> None:
    def hooks(*names: str) -> Change:
        made = {name: {"kind": "Job", "metadata": {"name": name, "annotations": {"helm.sh/hook": "pre-install"}},
                       "spec": {"template": {"spec": {"containers": []}}}} for name in names}  # fmt: skip
        return lambda parts: parts.update(made, more=list(names))

    one = {"count/jobs.batch": "1"}
    assert found(quota(**one), change=hooks("before", "after")) == []
