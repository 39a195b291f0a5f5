"""The kinds of foreign input: what each mutates, and what is asked of the tool with it."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from random import Random
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import yaml

from bench.fuzz import mutate
from bench.fuzz.home import ANOTHER, CHART, DOCKERFILE, ENV, EXAMPLE, KUBECONFIG, RECORD, SPEC, VALUES, Home, stored
from deployer.cluster.minikube import Minikube, NodeContainers
from deployer.core.errors import DeployError
from deployer.core.objects import well_formed
from deployer.core.ports import Object
from deployer.core.yaml import parse_yaml
from deployer.diagnosis import diagnose
from deployer.images.scanner import read_report
from deployer.kube.client import KubeApi
from deployer.kube.kubeconfig import read, server_of, write_context
from deployer.state import record
from deployer.status import Snapshot, WorkloadRef, current_pods, is_rollout_complete, old_pods, workload_status
from tests import DATA, ROOT
from tests.fakes.scene import TOOLS
from tests.unit.preflight.rules.subjects import good_objects


@dataclass(frozen=True)
class Tried:
    """What came of one input: the exit code, what was said, and the command with the input to try again."""

    code: int
    said: str
    what: str

    @property
    def bad(self) -> bool:
        """Whether the tool took it for a bug of its own, or showed a trace."""
        return self.code == 1 or "Traceback (most recent call last)" in self.said


Attempt = Callable[[Home, Random], Tried]


def specs(home: Home, random: Random) -> Tried:
    """A spec, its overlay, a profile or an override."""
    sample = random.choice(_specs())
    content = _document(random, sample)
    command = random.choice(
        ("config view", "config view -o json", "config profiles", "secrets check", "plan", "validate", "urls", "status",
         "config view --profile small", "validate --all-profiles", "doctor")
    )  # fmt: skip
    words = command.split()
    if random.random() < 0.1:
        value = str(random.choice((*mutate.STRANGE, *mutate.TOKENS))).replace("\0", "")
        path = random.choice(("namespace", "cluster.cpus", "releases.shop.values.a", "env.files", "", "a\\.b"))
        words += ["--set", f"{path}={value}"]
        content = SPEC.encode()
    name = random.choice(("todo-deploy.yaml", "todo-deploy.yaml", "todo-deploy.local.yaml"))
    home.write(name, content)
    return _ran(home, words, {name: content})


def env_files(home: Home, random: Random) -> Tried:
    """An env file or its example."""
    name = random.choice((".env", ".env", ".env.example"))
    content = _text(random, ENV if name == ".env" else EXAMPLE)
    home.write(name, content)
    if name == ".env.example":
        (home.project / ".env").unlink()
    command = random.choice(("secrets check", "secrets init", "validate", "plan", "status", "doctor"))
    return _ran(home, command.split(), {name: content})


def dockerfiles(home: Home, random: Random) -> Tried:
    """A Dockerfile or an ignore file."""
    name = random.choice(("api/Dockerfile", "api/Dockerfile", "api/.dockerignore"))
    content = _text(random, DOCKERFILE if name == "api/Dockerfile" else "*\n!main.py\n# x\n!**/a[b-c]*\n/x/../y\n")
    home.write(name, content)
    return _ran(home, random.choice(("plan", "validate", "init --stdout")).split(), {name: content})


def charts(home: Home, random: Random) -> Tried:
    """A chart's files, or a values file."""
    name = random.choice(("chart/Chart.yaml", "chart/Chart.yaml", "chart/values.yaml", "values.small.yaml",
                          "part/Chart.yaml", "chart/.helmignore", "chart/Chart.lock"))  # fmt: skip
    sample = VALUES if "values" in name else CHART
    content = _document(random, sample) if name != "chart/.helmignore" else _text(random, "*.md\n!a\n/b/\n")
    home.write(name, content)
    return _ran(home, random.choice(("plan", "validate", "init --stdout")).split(), {name: content})


def rendered(home: Home, random: Random) -> Tried:
    """What a chart renders to."""
    home.rendered = [one for one in _list(mutate.value(random, home.rendered)) if isinstance(one, dict)]
    if random.random() < 0.5:
        home.kube = home.kube.__class__(home.kube.clock)
    command = random.choice(("validate", "validate -o json", "plan"))
    return _ran(home, command.split(), home.rendered)


def kubeconfigs(home: Home, random: Random) -> Tried:
    """A kubeconfig, read by us and by the kubernetes package."""
    content = _document(random, json.dumps(KUBECONFIG))
    home.kubeconfig.write_bytes(content)
    way = random.randint(0, 3)
    if way < 2:
        command = random.choice(("env", "env --context work", "status", "urls --context work", "doctor"))
        return _ran(home, command.split(), content)

    def look() -> None:
        server_of(read(home.kubeconfig), "tiny")
        write_context(home.kubeconfig, "tiny", home.root / "narrowed.json")
        KubeApi(home.kubeconfig, random.choice(("tiny", "work")))

    return _called(look, content)


def run_records(home: Home, random: Random) -> Tried:
    """The record of a run."""
    folder = home.runs / "20260102T030405Z-0123"
    folder.mkdir(parents=True, exist_ok=True)
    files = _run_files()
    changed = random.choice(sorted(files))
    for name, documents in files.items():
        lines = [json.dumps(mutate.value(random, one) if name == changed and random.random() < 0.6 else one)
                 for one in documents]  # fmt: skip
        content = "\n".join(lines).encode() + b"\n"
        content = mutate.raw(random, content) if name == changed and random.random() < 0.3 else content
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    page = str(home.root / "page.html")
    command = random.choice(("explain", "explain --list", "explain -o json", "explain --list -o json"))
    words = ["explain", "--html", page] if random.random() < 0.3 else command.split()
    return _ran(home, words, (folder / changed).read_bytes())


def cluster_records(home: Home, random: Random) -> Tried:
    """The record in the cluster, of this application or another."""
    application = random.choice(("shop", "shop", "another"))
    body = record.encode(application, "default", RECORD if application == "shop" else ANOTHER)
    document = json.loads(base64.b64decode(body["data"]["record"]))
    packed = _json(random, document)
    body["data"] = {"record": base64.b64encode(packed).decode()}
    if random.random() < 0.1:
        body = {**_map(mutate.value(random, body)), "kind": "Secret", "metadata": body["metadata"]}
    home.kube.put(body)
    command = random.choice(
        ("history", "history -o json", "status", "status -o json", "images list", "images prune", "urls", "plan",
         "validate", "rollback --to 1", "down", "restart api", "logs api")
    )  # fmt: skip
    return _ran(home, command.split(), packed)


def helm_storage(home: Home, random: Random) -> Tried:
    """A Secret that holds a revision of Helm's."""
    number = random.randint(1, 3)
    body = stored(number, random.choice(("deployed", "failed", "pending-upgrade")))
    document = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(body["data"]["release"]))))
    document["hooks"] = [{"manifest": "kind: Job\nmetadata: {name: x}\n", "events": ["pre-upgrade"]}]
    if random.random() < 0.2:
        document["manifest"] = mutate.text(random, document["manifest"])
    raw = gzip.compress(_json(random, document), mtime=0)
    if random.random() < 0.2:
        raw = mutate.raw(random, raw)
    body["data"] = {"release": base64.b64encode(base64.b64encode(raw)).decode()}
    if random.random() < 0.2:
        body = {**_map(mutate.value(random, body)), "kind": "Secret"}
        body["metadata"] = {**_map(body.get("metadata")), "name": f"sh.helm.release.v1.shop.v{number}",
                            "namespace": "default"}  # fmt: skip
    home.kube.put(body)
    command = random.choice(("status", "history", "plan", "validate", "down", "rollback --to 1", "rollback"))
    return _ran(home, command.split(), body)


def api_objects(home: Home, random: Random) -> Tried:
    """Objects as an API server might hand them on."""
    if random.random() < 0.5:
        case = _status_cases()[random.randint(0, len(_status_cases()) - 1)]
        objects = {kind: [one for one in _list(found) if isinstance(one, dict)]
                   for kind, found in _map(mutate.value(random, case["objects"])).items()
                   if kind in Snapshot.__dataclass_fields__}  # fmt: skip
        return _called(lambda: _diagnosed(case, objects), objects)
    kind = random.choice(("Deployment", "ReplicaSet", "Pod", "Event", "Service", "Node", "ConfigMap", "Ingress",
                          "PersistentVolumeClaim", "HorizontalPodAutoscaler"))  # fmt: skip
    found = home.kube.list(kind)
    for one in found:
        name, namespace = one["metadata"]["name"], one["metadata"].get("namespace", "")
        body = _map(mutate.value(random, one))
        home.kube.put({**body, "kind": kind, "metadata": {**_map(body.get("metadata")), "name": name,
                                                           "namespace": namespace}})  # fmt: skip
    command = random.choice(
        ("status", "status -o json", "validate", "plan", "urls", "images prune", "logs api", "restart api", "down")
    )
    return _ran(home, command.split(), home.kube.list(kind))


def answers(home: Home, random: Random) -> Tried:
    """What an API server, a scanner, Minikube and Docker answer."""
    way = random.randint(0, 3)
    if way == 0:
        path = random.choice(sorted((DATA / "scanners").glob("*.json")))
        content = _json(random, json.loads(path.read_bytes())).decode("utf-8", "replace")
        return _called(lambda: read_report(random.choice(("trivy", "grype")), content), content)
    if way == 1:
        return _minikube(home, random)
    sample: Any = {"kind": "List", "metadata": {}, "items": list(good_objects().values())}
    raw = _json(random, random.choice((sample, sample["items"][0], {"gitVersion": "v1.34.4"}, _STATS, _REFUSAL)))
    raw = random.choice((raw, raw, raw, b"<html>proxy</html>", b"", mutate.raw(random, raw)))
    status = random.choice((200, 200, 200, 404, 403, 500))
    home.kubeconfig.write_text(json.dumps(KUBECONFIG))

    def ask() -> None:
        api = KubeApi(home.kubeconfig, "work", attempts=1)
        answer = SimpleNamespace(status=status, read=lambda: raw)
        with patch.object(api._client, "call_api", lambda *_, **__: answer):
            for call in (
                api.version, lambda: api.get("Pod", "default", "a"), lambda: api.list("Pod"), api.ready,
                lambda: api.list("Secret", metadata_only=True), lambda: api.memory_in_use("n"),
                lambda: api.free_disk("n"), lambda: api.create({"kind": "Pod", "metadata": {"name": "a"}}),
            ):  # fmt: skip
                _explained(call)
        with patch.object(api, "_lines", lambda *_: iter(raw.split(b"\n"))):
            api.awaited("Pod", "default", "a", lambda one: bool(one["metadata"].get("name")), 0.001)

    return _called(ask, raw)


KINDS: dict[str, Attempt] = {
    "specs": specs, "env files": env_files, "Dockerfiles": dockerfiles, "charts and values": charts,
    "rendered objects": rendered, "kubeconfigs": kubeconfigs, "run records": run_records,
    "cluster records": cluster_records, "Helm storage": helm_storage, "API objects": api_objects, "answers": answers,
}  # fmt: skip

_STATS = {
    "node": {"fs": {"availableBytes": 1}, "runtime": {"imageFs": {"availableBytes": 2}}},
    "pods": [{"podRef": {"name": "a", "namespace": "b"},
              "containers": [{"name": "c", "memory": {"workingSetBytes": 3}}]}],
}  # fmt: skip
_REFUSAL = {"kind": "Status", "message": "no", "reason": "Forbidden", "code": 403}


def _minikube(home: Home, random: Random) -> Tried:
    """Minikube's profile and Docker's container as their JSON."""
    profile = {"Name": "tiny", "Driver": "docker", "CPUs": 2, "Memory": 4096,
               "KubernetesConfig": {"KubernetesVersion": "v1.34.4", "ContainerRuntime": "docker"},
               "Nodes": [{"IP": "192.0.2.10", "Port": 8443, "ControlPlane": True, "Worker": True}]}  # fmt: skip
    container = {
        "State": {"Status": "running", "Running": True, "Paused": False},
        "Config": {"Labels": {"created_by.minikube.sigs.k8s.io": "true"}},
        "NetworkSettings": {
            "Ports": {name: [{"HostIp": "127.0.0.1", "HostPort": "32771"}] for name in ("2376/tcp", "8443/tcp")},
            "Networks": {"tiny": {"IPAddress": "192.0.2.10", "IPPrefixLen": 24}},
        },
    }
    folder = home.root / ".minikube" / "profiles" / "tiny"
    folder.mkdir(parents=True, exist_ok=True)
    wrong = random.random() < 0.5
    (folder / "config.json").write_bytes(_json(random, profile) if wrong else json.dumps(profile).encode())
    shown = container if wrong else _map(mutate.value(random, container))
    home.kubeconfig.write_text(json.dumps(KUBECONFIG))
    places = home.kubeconfig, home.root / "note"
    env = {"HOME": str(home.root)}
    cluster = Minikube(TOOLS, "tiny", env, NodeContainers(lambda name: shown, lambda name, path: ""), *places)

    def look() -> None:
        with suppress(FileNotFoundError):  # a driver without a container is asked through Minikube, which is not here
            cluster.facts()

    return _called(look, [profile, shown, (folder / "config.json").read_bytes()])


def _diagnosed(case: Any, objects: dict[str, list[Object]]) -> None:
    kinds = {"ingressclasses": "IngressClass", "hpas": "HorizontalPodAutoscaler", "pvcs": "PersistentVolumeClaim",
             "endpointslices": "EndpointSlice", "ingresses": "Ingress", "replicasets": "ReplicaSet",
             "statefulsets": "StatefulSet", "daemonsets": "DaemonSet"}  # fmt: skip
    snapshot = Snapshot(**{
        name: tuple(well_formed(one, kinds.get(name, name.title().removesuffix("s"))) for one in found)
        for name, found in objects.items()
    })  # fmt: skip
    refs = tuple(WorkloadRef("todo", *text.split("/")) for text in case["refs"])
    for ref in refs:
        workload_status(ref, snapshot, 1767323045.0)
        current_pods(ref, snapshot)
        old_pods(ref, snapshot)
        for one in snapshot.deployments:
            is_rollout_complete(ref.kind, dict(one))
    logs = {(log["pod"], log["container"], log["previous"]): log["text"] for log in case.get("logs", ())}
    diagnose(snapshot, refs, logs, 1767323045.0, 0.0)


def _document(random: Random, sample: str) -> bytes:
    """A YAML document, mutated as a value, as a text or as bytes."""
    way = random.random()
    if way < 0.6:
        made = yaml.safe_dump(mutate.value(random, _loaded(sample)), allow_unicode=random.random() < 0.5)
        return made.encode("utf-8", "surrogatepass")
    return _text(random, sample)


def _text(random: Random, sample: str) -> bytes:
    made = mutate.text(random, sample).encode("utf-8", "surrogatepass")
    return mutate.raw(random, made) if random.random() < 0.2 else made


def _json(random: Random, sample: Any) -> bytes:
    made = json.dumps(mutate.value(random, sample)).encode()
    return mutate.raw(random, made) if random.random() < 0.15 else made


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _ran(home: Home, words: Sequence[str], given: Any) -> Tried:
    code, said = home.run(*words)
    return Tried(code, said, f"{' '.join(words)}\n{given!r}")


def _called(call: Callable[[], object], given: Any) -> Tried:
    """A function called by itself: what it raises other than an explained failure is a bug."""
    try:
        return Tried(_explained(call), "", repr(given))
    except Exception as error:
        import traceback

        return Tried(1, "".join(traceback.format_exception(error)), repr(given))


def _explained(call: Callable[[], object]) -> int:
    try:
        call()
    except DeployError as error:
        return int(error.exit_code)
    return 0


@cache
def _loaded(sample: str) -> Any:
    return parse_yaml(sample).value


@cache
def _specs() -> tuple[str, ...]:
    others = (ROOT / "todo-deploy.yaml", *sorted((ROOT / "topologies").glob("*.yaml")))
    return (SPEC, SPEC, SPEC, *(path.read_text(encoding="utf-8") for path in others))


@cache
def _status_cases() -> tuple[Any, ...]:
    return tuple(_loaded(path.read_text(encoding="utf-8")) for path in sorted((DATA / "status").glob("*.yaml")))


@cache
def _run_files() -> dict[str, tuple[Any, ...]]:
    """A run that failed, as its record has it: file → its documents, one a line."""
    problem = {"code": "ERR_IMAGE_NEVER_PULL", "title": "no image", "detail": "a\nb", "where": "pod/a", "hints": ["x"]}
    at = 1767323045.0
    ref = {"namespace": "default", "kind": "Deployment", "name": "api"}
    events: tuple[dict[str, Any], ...] = (
        {"type": "run_started", "command": "up", "application": "shop", "stages": ["images", "rollout"]},
        {"type": "stage_started", "stage": "images"},
        {"type": "item", "stage": "images", "item": "api", "state": "running", "text": "builds"},
        {"type": "log", "stage": "images", "item": "api", "line": "step 1"},
        {"type": "item", "stage": "images", "item": "api", "state": "done", "text": ""},
        {"type": "stage_finished", "stage": "images", "seconds": 1.5, "changed": True, "text": "1 built"},
        {"type": "workload_changed", "status": {"ref": ref, "phase": "Progressing", "reason": "x", "message": "y"}},
        {"type": "warned", "problem": problem},
        {"type": "url_proven", "name": "web", "url": "http://x", "status": 200},
        {"type": "stage_failed", "stage": "rollout", "seconds": 2, "problems": [problem]},
        {"type": "run_finished", "exit_code": 6, "changed": True, "seconds": 4.5, "outcome": "failed"},
    )
    summary = {
        "command": "up", "application": "shop", "outcome": "failed", "exitCode": 6, "changed": True, "seconds": 4.5,
        "began": at, "problems": [problem], "spec": "/x/todo-deploy.yaml", "profile": "small",
        "commit": {"sha": "0123456789", "dirty": True}, "versions": {"kubernetes": "v1.34.4"},
        "images": [{"name": "api", "ref": "shop-api:1", "id": "sha256:1", "size": 3, "changed": True}],
        "releases": [{"name": "shop", "namespace": "default", "revision": 2, "changed": True, "verdict": "failed"}],
    }  # fmt: skip
    segment = {"state": "Pending", "begin": at, "end": at + 2, "why": "x"}
    timeline = {
        "begun": at, "ended": at + 4,
        "rows": [{"name": name, "kind": name, "segments": [segment, {**segment, "state": "Ready"}]}
                 for name in ("stage", "item", "workload", "pod")],
        "sightings": [{"code": "ERR_IMAGE_NEVER_PULL", "title": "t", "where": "w", "since": at, "named": at + 1,
                       "delay": 1.0}],
    }  # fmt: skip
    amounts = {"cpu": 4, "memory": 8e9}
    ready = {"type": "Ready", "status": "True", "reason": "x", "message": "y", "lastTransitionTime": ""}
    node = {"name": "tiny", "kubelet": "v1.34.4", "conditions": [ready], "taints": ["a=b:c"], "pods": 3,
            "podCapacity": "110", "allocatable": amounts, "requests": amounts, "limits": amounts}  # fmt: skip
    return {
        "events.jsonl": tuple({"at": at + number, "v": 1, **one} for number, one in enumerate(events)),
        "run.json": (summary,), "timeline.json": (timeline,), "cluster/nodes.json": ([node],),
    }  # fmt: skip
