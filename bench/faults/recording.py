"""Real objects of a fault, as the program itself looks at them, written as a case of tests/data/status."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from bench.faults.model import NAMESPACE, Fault
from deployer import diagnosis
from deployer.config.spec import FailFast
from deployer.core.ports import KubePort
from deployer.core.redact import Redactor
from deployer.diagnosis import Observed
from deployer.rollout.observe import Surroundings, read_surroundings
from deployer.rollout.stage import take_snapshot
from deployer.rollout.watch import take_logs
from deployer.status import Snapshot, WorkloadRef, workload_status
from deployer.status.objects import dig, find, name_of, rows, uid_of

_KINDS = ("Node", "Service", "Ingress", "IngressClass", "HorizontalPodAutoscaler")
_LONG = 600
# What says nothing about a rollout, or something about this machine.
_LEFT_OUT = {
    "managedFields", "resourceVersion", "selfLink", "nodeInfo", "addresses", "capacity", "daemonEndpoints", "images",
    "tolerations",
    "volumeMounts", "volumesAttached", "volumesInUse", "features", "runtimeHandlers", "imageID", "allocatedResources",
    "user", "terminationMessagePath", "terminationMessagePolicy", "dnsPolicy", "schedulerName", "hostIPs", "podIPs",
    "preemptionPolicy", "enableServiceLinks", "podCIDR", "podCIDRs",
}  # fmt: skip


@dataclass
class Recorder:
    """Cases go into `folder`; `since` is when the run began that is looked at."""

    folder: Path
    kube: KubePort
    redact: Redactor
    since: float = 0.0

    def record(self, fault: Fault) -> None:
        """The moment is a case, if what is seen leads to the fault's code."""
        kind = ("Job", "todo-migrate") if fault.code == "HOOK_FAILED" else ("Deployment", fault.component)
        self.write(fault.name, WorkloadRef(NAMESPACE, *kind), fault.code)

    def write(self, name: str, ref: WorkloadRef, code: str = "") -> None:
        """The workload as it is now is a case of this name, if the code is among its findings (or none is wanted)."""
        now = time.time()
        snapshot = take_snapshot([ref], self.kube)
        snapshot = read_surroundings(Surroundings(), _KINDS, snapshot, [ref], self.kube).beside(snapshot)
        logs = take_logs(snapshot, [ref], self.kube)
        kept = _kept(snapshot, ref)
        case = {
            "about": f"Recorded: {name}.",
            "recorded": {"kubernetes": self.kube.version(), "fault": name},
            "since": _stamp(self.since),
            "now": _stamp(now),
            "refs": [f"{ref.kind}/{ref.name}"],
            "logs": [
                {"pod": pod, "container": container, "previous": previous, "text": text}
                for (pod, container, previous), text in logs.items()
            ],
            "objects": {kind: objects for kind, objects in kept.items() if objects},
        }
        case = self.redact.data(_plain(case))
        case["expect"] = _expected(case, ref, now, self.since)
        codes = [one["code"] for one in case["expect"]["findings"]]
        if code not in codes and (code or codes):
            return
        path = self.folder / f"recorded_{re.sub(r'[^a-z0-9]+', '_', name.lower()).strip('_')}.yaml"
        self.folder.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(case, sort_keys=False, default_flow_style=None, width=118, allow_unicode=True))


def _kept(snapshot: Snapshot, ref: WorkloadRef) -> dict[str, list[Mapping[str, Any]]]:
    """The workload's own objects, what its pods stand on, and the events about all of these."""
    workload = find(ref, snapshot)
    sets = [one for one in snapshot.sets_by_owner.get(uid_of(workload), ()) if dig(one, "status", "replicas")
            or any(rows(one, "status", "conditions")) or dig(one, "spec", "replicas")]  # fmt: skip
    pods = [pod for owner in (workload, *sets) for pod in snapshot.pods_by_owner.get(uid_of(owner), ())]
    claims = {dig(v, "persistentVolumeClaim", "claimName") for pod in pods for v in rows(pod, "spec", "volumes")}
    labels = dig(workload, "spec", "template", "metadata", "labels") or {}
    near = [one for one in snapshot.services if name_of(one).startswith(ref.name) or _selects(one, labels)]
    chosen: dict[str, list[Mapping[str, Any]]] = {
        {"Deployment": "deployments", "StatefulSet": "statefulsets", "Job": "jobs"}[ref.kind]: [workload or {}],
        "replicasets": sets,
        "pods": pods,
        "pvcs": [one for one in snapshot.pvcs if name_of(one) in claims],
        "services": near,
        "ingresses": list(snapshot.ingresses),
        "ingressclasses": list(snapshot.ingressclasses),
        "hpas": list(snapshot.hpas),
        "nodes": list(snapshot.nodes),
    }
    known = {uid_of(one) for objects in chosen.values() for one in objects}
    chosen["events"] = [one for one in snapshot.events if dig(one, "involvedObject", "uid") in known]
    return chosen


def _selects(service: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    selector = dig(service, "spec", "selector") or {}
    return bool(selector) and selector.items() <= labels.items()


def _expected(case: dict[str, Any], ref: WorkloadRef, now: float, since: float) -> dict[str, Any]:
    """What the pure functions say of it now, to be read by whoever commits the case."""
    names = {one.name for one in fields(Snapshot)}
    snapshot = Snapshot(**{kind: tuple(found) for kind, found in case["objects"].items() if kind in names})
    logs = {(log["pod"], log["container"], log["previous"]): log["text"] for log in case["logs"]}
    now, since = _parsed(case["now"]), _parsed(case["since"])
    status = workload_status(ref, snapshot, now)
    found = diagnosis.diagnose(snapshot, (ref,), logs, now, since)
    memory, fails = Observed(), "never"
    for second in range(_LONG):
        memory = memory.observe(found, now + second)
        if diagnosis.judge(found, memory, now + second, FailFast.BALANCED).state == "failed":
            fails = str(second)
            break
    findings = [{"code": one.code, "title": one.title, "ignored": bool(one.ignored)} for one in found]
    figures = {name: getattr(status, name) for name in ("ready", "desired", "updated", "restarts", "reason", "message")}
    return {
        "status": {"phase": status.phase.value, **figures},
        "findings": findings,
        "fails": int(fails) if fails.isdigit() else fails,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items() if key not in _LEFT_OUT}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _parsed(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def secrets_of(lines: Iterable[str]) -> Redactor:
    """Takes out every value of an env file."""
    return Redactor(line.partition("=")[2].strip().strip("'\"") for line in lines if "=" in line)
