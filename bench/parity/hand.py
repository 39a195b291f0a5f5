"""By hand: `docker build` in the cluster's daemon, and `helm upgrade --install --wait` with a values file.

The spec is read by helm itself, by a chart of one template: nothing of what is compared reads it.
"""

from __future__ import annotations

import io
import json
import re
import shlex
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.parity.case import SPEC
from bench.parity.running import Ended, Runner
from deployer.toolchain import Toolchain
from deployer.toolchain.source.base_images import replacement_of

Object = dict[str, Any]
_UPSTREAM = re.compile(r"\b(?:python|node|nginx|postgres)(?::[\w.-]+)?")
_USUAL = (
    "python:3.11-slim",
    "python:3.11",
    "python:3.11-alpine",
    "node:18-alpine",
    "node:18",
    "nginx:alpine",
    "postgres:15",
)
# What a container is at when nothing will come of it.
_BAD = {
    "CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull", "ErrImageNeverPull", "InvalidImageName",
    "CreateContainerConfigError", "CreateContainerError", "RunContainerError",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a way went: `works` or what it failed of, and the seconds."""

    works: bool
    words: str
    seconds: float


@dataclass(slots=True)
class Machine:
    """The cluster and the programs of a case: its node, helm and kubectl."""

    runner: Runner
    tools: Toolchain
    profile: str
    bases: frozenset[str] = frozenset()
    """Replacement images of the node, for base images that cannot be pulled."""

    def kubectl(self, *words: str, text: str = "", limit: float = 60) -> Ended:
        """kubectl ran to its end."""
        return self.runner.run("kubectl", [self.tools.kubectl, *words], limit=limit, text=text)

    def helm(self, *words: str | Path, text: str = "", limit: float = 120) -> Ended:
        """helm ran to its end."""
        return self.runner.run("helm", [self.tools.helm, *words], limit=limit, text=text)

    def node(self, *words: str, text: bytes = b"", limit: float = 120) -> Ended:
        """A command ran in the cluster's node, where the images are."""
        return self.runner.run("node", [self.tools.docker, "exec", "-i", self.profile, *words], limit=limit, text=text)


def read_spec(machine: Machine, root: Path) -> Object:
    """The spec as Helm reads YAML."""
    with tempfile.TemporaryDirectory() as folder:
        chart = Path(folder)
        (chart / "templates").mkdir()
        (chart / "Chart.yaml").write_text("apiVersion: v2\nname: spec\nversion: 0.1.0\n")
        (chart / "templates" / "all.yaml").write_text("value: {{ toJson .Values | quote }}\n")
        ended = machine.helm("template", "spec", chart, "--values", root / SPEC)
    found = re.search(r'^value: (".*")$', ended.out, re.M)
    if ended.code != 0 or found is None:
        raise ValueError(f"helm cannot read the spec: {ended.last}")
    spec: Object = json.loads(json.loads(found[1]))
    return spec


def deploy(machine: Machine, root: Path, spec: Object, tag: str, settle: float) -> Verdict:
    """Built, installed and asked as somebody does who has no tool for it."""
    begun = time.monotonic()
    try:
        for name, image in spec.get("images", {}).items():
            _check(_build(machine, root, image, tag), f"docker build of {name}")
        _make_secrets(machine, root, spec)
        for name in _in_order(spec.get("releases", {})):
            _check(_install(machine, root, spec, name, tag), "helm")
        time.sleep(settle)
        _check_health(machine, spec)
    except HandFailed as error:
        return Verdict(False, str(error), time.monotonic() - begun)
    return Verdict(True, "works", time.monotonic() - begun)


def remove(machine: Machine, spec: Object, token: str) -> None:
    """Releases and images of the case are gone; its namespaces are going, for `clear` to wait for."""
    for name, release in spec.get("releases", {}).items():
        machine.helm("uninstall", name, "--namespace", _namespace(spec, release), limit=60)
    clear(machine, token, wait=False)


def clear(machine: Machine, token: str, *, wait: bool = True) -> None:
    """No namespace and no image whose name holds the token is left; without `wait`, namespaces are still going."""
    namespaces = [
        name.removeprefix("namespace/")
        for name in machine.kubectl("get", "namespaces", "-o", "name").out.split()
        if holds(name, token)
    ]
    for name in namespaces:
        machine.kubectl("delete", "pods", "--all", "--grace-period=1", "--wait=false", "--namespace", name)
    if namespaces:
        machine.kubectl("delete", "namespace", *namespaces, f"--wait={str(wait).lower()}", "--timeout=60s", limit=90)
    listed = machine.node("docker", "images", "--format", "{{.Repository}}:{{.Tag}}").out.split()
    images = [name for name in listed if holds(name, token)]
    if images:
        machine.node("docker", "rmi", "--force", *images)


def holds(name: str, token: str) -> bool:
    """Whether the name has the token, and not one that only begins alike."""
    return re.search(rf"(?<![0-9a-z]){re.escape(token)}(?![0-9a-z])", name) is not None


class HandFailed(Exception):
    """A step by hand did not go well; the message is its last words."""


def _check(ended: Ended, step: str) -> None:
    if ended.code != 0:
        raise HandFailed(f"{step}: {ended.last}"[:300])


def _build(machine: Machine, root: Path, image: Object, tag: str) -> Ended:
    folder = root / image["context"]
    place = f"/tmp/parity/{image['repository'].replace('/', '-')}"
    dockerfile = root / image["dockerfile"] if image.get("dockerfile") else folder / "Dockerfile"
    if not dockerfile.is_file():
        raise HandFailed(f"no {dockerfile.relative_to(root)}")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(folder, arcname="context")
        archive.add(dockerfile, arcname="Dockerfile")
        own = dockerfile.with_name(dockerfile.name + ".dockerignore")
        if own.is_file():
            archive.add(own, arcname="Dockerfile.dockerignore")
    machine.node("rm", "-rf", place)
    machine.node("mkdir", "-p", place)
    # No registry serves the frontend that `# syntax=` names: the daemon's own has to do.
    unpack = f"tar -x -C {place} && sed -i '/^# *syntax *=/d' {place}/Dockerfile"
    _check(machine.node("sh", "-c", unpack, text=packed.getvalue()), "copy")
    words = ["docker", "buildx", "build", "--progress", "plain", "-t", f"{image['repository']}:{tag}",
             "-f", f"{place}/Dockerfile"]  # fmt: skip
    for name in sorted({*_USUAL, *_UPSTREAM.findall(dockerfile.read_text(errors="replace"))}):
        if (replacement := replacement_of(name)) in machine.bases:
            words += ["--build-context", f"{name}=docker-image://{replacement}"]
    for key, value in image.get("args", {}).items():
        words += ["--build-arg", f"{key}={value}"]
    for key, value in image.get("labels", {}).items():
        words += ["--label", f"{key}={value}"]
    if image.get("target"):
        words += ["--target", image["target"]]
    try:
        return machine.node(*words, f"{place}/context", limit=180)
    finally:
        machine.node("rm", "-rf", place)


def _namespace(spec: Object, part: Object) -> str:
    return str(part.get("namespace") or spec.get("namespace", "default"))


def read_env(root: Path, spec: Object) -> dict[str, str]:
    """The env files as a shell would take them, as far as that is easy."""
    found: dict[str, str] = {}
    for name in spec.get("env", {}).get("files", [".env"]):
        lines = (root / name).read_text().splitlines() if (root / name).is_file() else []
        for line in lines:
            key, sign, value = line.strip().removeprefix("export ").partition("=")
            if sign and not key.startswith("#"):
                try:
                    found[key.strip()] = "".join(shlex.split(value, comments=True)[:1])
                except ValueError:
                    found[key.strip()] = value.strip()
    return found


def _make_secrets(machine: Machine, root: Path, spec: Object) -> None:
    env = read_env(root, spec)
    for name, secret in spec.get("secrets", {}).items():
        space = _namespace(spec, secret)
        machine.kubectl("create", "namespace", space)
        data = {
            key: env.get((source or {}).get("from") or key) or (source or {}).get("default") or "generated-by-hand"
            for key, source in secret["keys"].items()
        }
        document = {
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": space},
            "type": secret.get("type", "Opaque"), "stringData": data,
        }  # fmt: skip
        _check(machine.kubectl("apply", "-f", "-", text=json.dumps(document)), "kubectl")


def _in_order(releases: Mapping[str, Object]) -> Iterator[str]:
    left = dict(releases)
    while left:
        ready = [name for name, one in left.items() if not set(one.get("needs", [])) & set(left)]
        for name in ready or list(left):
            del left[name]
            yield name


def _install(machine: Machine, root: Path, spec: Object, name: str, tag: str) -> Ended:
    release = spec["releases"][name]
    words: list[str | Path] = ["upgrade", "--install", name, root / release["chart"], "--namespace",
                               _namespace(spec, release), "--create-namespace", "--wait", "--timeout",
                               str(spec.get("rollout", {}).get("timeout", "60s"))]  # fmt: skip
    for file in release.get("valuesFiles", []):
        words += ["--values", root / file]
    values = root / f".values-{name}.json"
    values.write_text(json.dumps(release.get("values", {})))
    words += ["--values", values]
    for image, mapping in release.get("images", {}).items():
        for path, template in mapping.items():
            words += ["--set-string", f"{path}={_filled(template, spec['images'][image]['repository'], tag)}"]
    for secret, mapping in release.get("secrets", {}).items():
        for path, template in mapping.items():
            if template != "{checksums}":
                words += ["--set-string", f"{path}={template.replace('{name}', secret).replace('{checksum}', tag)}"]
    for switch, paths in release.get("switches", {}).items():
        env, rule = read_env(root, spec), spec["switches"][switch]
        on = not env.get(rule["whenUnset"]) if rule.get("whenUnset") else bool(env.get(rule["whenSet"]))
        for path in paths:
            words += ["--set", f"{path}={str(on).lower()}"]
    try:
        ended = machine.helm(*words, limit=180)
        if "missing in charts/ directory" in ended.err:
            machine.helm("dependency", "update", root / release["chart"], "--skip-refresh", limit=60)
            ended = machine.helm(*words, limit=180)
        return ended
    finally:
        values.unlink()


def _filled(template: str, repository: str, tag: str) -> str:
    registry, _, rest = repository.rpartition("/")
    host = registry if "." in registry.split("/")[0] or ":" in registry else ""
    words = {
        "registry": host or "docker.io", "repository": repository, "name": rest, "tag": tag,
        "ref": f"{repository}:{tag}",
    }  # fmt: skip
    return re.sub(r"\{(\w+)\}", lambda found: words.get(found[1], found[0]), template)


def _check_health(machine: Machine, spec: Object) -> None:
    """Nothing restarted since Helm was content, and the URLs answer."""
    if sick := sick_pods(machine, spec):
        raise HandFailed("; ".join(sick))
    for name, url in spec.get("urls", {}).items():
        if "service" in url and (answer := _ask(machine, spec, url)):
            raise HandFailed(f"{name}: {answer}")


def sick_pods(machine: Machine, spec: Object) -> list[str]:
    """The application's containers that restarted or wait for what never comes; pods that are going are left out.

    A container is not ready where it is not so for longer than a probe that was answered late takes it.
    """
    for _ in range(_LOOKS):
        found = _sick_pods(machine, spec)
        if not all(words.endswith(_NOT_READY) for words in found) or not found:
            break
        time.sleep(2)
    return found


_LOOKS, _NOT_READY = 3, "not ready"


def _sick_pods(machine: Machine, spec: Object) -> list[str]:
    found = list[str]()
    spaces = {_namespace(spec, part) for part in spec.get("releases", {}).values()}
    for space in sorted(spaces - {"default", "kube-system"}):
        pods = machine.kubectl("get", "pods", "--namespace", space, "-o", "json").document().get("items", [])
        found += [words for pod in pods if not pod["metadata"].get("deletionTimestamp") for words in _sick(pod)]
    return found


def _sick(pod: Object) -> Iterator[str]:
    owners = {owner["kind"] for owner in pod["metadata"].get("ownerReferences", [])}
    status, name = pod.get("status", {}), pod["metadata"]["name"]
    if status.get("phase") == "Failed" and "Job" not in owners:
        yield f"{name} Failed"
    for container in status.get("containerStatuses", []) + status.get("initContainerStatuses", []):
        reason = container.get("state", {}).get("waiting", {}).get("reason", "")
        if reason in _BAD:
            yield f"{name}/{container['name']} {reason}"
        elif container.get("restartCount", 0) and "Job" not in owners:
            yield f"{name}/{container['name']} restarted"
    if owners & {"ReplicaSet", "StatefulSet", "DaemonSet"}:
        for container in status.get("containerStatuses", []):
            if "running" in container.get("state", {}) and not container.get("ready"):
                yield f"{name}/{container['name']} {_NOT_READY}"


def _ask(machine: Machine, spec: Object, url: Object) -> str:
    """What is wrong with the answer; empty where nothing is."""
    space = _namespace(spec, url)
    service = machine.kubectl("get", "service", str(url["service"]), "--namespace", space, "-o", "json").document()
    ports = service.get("spec", {}).get("ports", [])
    wanted = url.get("port")
    chosen = [port for port in ports if wanted is None or wanted in (port.get("name"), port["port"])]
    node_port = chosen[0].get("nodePort") if chosen else None
    if node_port is None:
        return ""
    host = machine.kubectl(
        "get", "nodes", "-o", "jsonpath={.items[0].status.addresses[?(@.type=='InternalIP')].address}"
    )
    address = f"http://{host.out.strip()}:{node_port}{url.get('path', '/')}"
    answer = ""
    for _ in range(10):
        try:
            with urllib.request.urlopen(address, timeout=3) as reply:
                status = reply.status
        except urllib.error.HTTPError as error:
            status = error.code
        except OSError as error:
            status, answer = 0, str(error)
        if status == url.get("expect", 200):
            return ""
        answer = f"answers {status}" if status else answer
        time.sleep(0.5)
    return answer
