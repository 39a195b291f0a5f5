"""A topology's spec as `up` would hand it to Helm, without a cluster: its plan, and every object its charts render."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from bench.topologies.checklists import TOPOLOGIES
from deployer.commands.validate import offline_plan
from deployer.composition import this_machine
from deployer.config.load import LoadedSpec, load_spec
from deployer.plan import Plan
from tests.charts.conftest import KUBE_VERSION

Object = dict[str, Any]

NODE = "192.0.2.1"
# What a clone has whose user filled in nothing.
ENV = {
    "BETTER_AUTH_SECRET": "a" * 43,
    "JWT_SECRET": "j" * 43,
    "POSTGRES_PASSWORD": "p" * 32,
}
OUTSIDE = {**ENV, "DATABASE_URL": "postgresql://me:secret-canary@db.example/todo"}


@dataclass(frozen=True)
class Topology:
    """A topology's spec, its plan, and the objects of all releases by kind and name."""

    loaded: LoadedSpec
    plan: Plan
    objects: Mapping[tuple[str, str], Object]
    owners: Mapping[tuple[str, str], str]
    """Object → the release that it is of."""

    def __getitem__(self, key: tuple[str, str]) -> Object:
        return self.objects[key]

    def kinds(self, kind: str) -> set[str]:
        """The names of all objects of a kind."""
        return {name for one, name in self.objects if one == kind}

    def of(self, release: str) -> set[tuple[str, str]]:
        """Kind and name of every object of a release."""
        return {key for key, owner in self.owners.items() if owner == release}

    def deployment(self, name: str) -> Object:
        """The spec of a Deployment."""
        spec: Object = self["Deployment", name]["spec"]
        return spec

    def pod(self, name: str) -> Object:
        """The spec of a Deployment's pods."""
        spec: Object = self.deployment(name)["template"]["spec"]
        return spec

    def container(self, name: str) -> Object:
        (container,) = self.pod(name)["containers"]
        result: Object = container
        return result

    def variables(self, name: str) -> dict[str, Any]:
        """Each variable of the container: its text, or what it is taken from as `secret/key` or `configmap/key`."""
        found: dict[str, Any] = {}
        for source in self.container(name).get("envFrom", ()):
            config = source["configMapRef"]["name"]
            found |= {key: f"{config}/{key}" for key in self["ConfigMap", config]["data"]}
        for one in self.container(name).get("env", ()):
            origin = next(iter(one.get("valueFrom", {}).values()), None)
            found[one["name"]] = f"{origin['name']}/{origin['key']}" if origin else one["value"]
        return found


def render(
    name: str, helm: str, cache: Path, profile: str | None = None, env: Mapping[str, str] = OUTSIDE, *, node: str = NODE
) -> Topology:
    """The topology under these env values; OUTSIDE names a database, ENV does not."""
    loaded = load_spec(TOPOLOGIES / f"{name}.yaml", profile)
    plan = offline_plan(loaded, env, {}, replace(this_machine(), cache_dir=cache), node)
    objects: dict[tuple[str, str], Object] = {}
    owners: dict[tuple[str, str], str] = {}
    for release in plan.releases:
        done = subprocess.run(
            [helm, "template", release.name, str(release.chart), "--namespace", release.namespace,
             "--kube-version", KUBE_VERSION, "--values", "-"],
            input=json.dumps(release.values), capture_output=True, text=True, check=True,
        )  # fmt: skip
        for body in filter(None, YAML(typ="safe").load_all(done.stdout)):
            key = body["kind"], body["metadata"]["name"]
            assert key not in objects, f"two objects are {key}"
            objects[key], owners[key] = body, release.name
    return Topology(loaded, plan, objects, owners)
