"""Helm, and a short way to render a chart of this repository."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from deployer.core.files import cache_folder
from deployer.core.values import overlaid
from deployer.toolchain import locate_toolchain
from tests.charts.staging import CHARTS, stage

Object = dict[str, Any]
Values = Mapping[str, Any]

# A Helm built without its release flags takes Kubernetes to be 1.20, so the version is always given.
KUBE_VERSION = "v1.34.0"


@dataclass(frozen=True)
class Rendered:
    """The objects of one rendering, by kind and name."""

    objects: dict[tuple[str, str], Object]

    def __getitem__(self, key: tuple[str, str]) -> Object:
        return self.objects[key]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.objects)

    def pod(self, name: str) -> Object:
        """The pod template of the Deployment or StatefulSet `name`."""
        kind = "Deployment" if ("Deployment", name) in self.objects else "StatefulSet"
        template: Object = self[kind, name]["spec"]["template"]
        return template

    def container(self, name: str) -> Object:
        (container,) = self.pod(name)["spec"]["containers"]
        result: Object = container
        return result


@dataclass(frozen=True)
class Chart:
    """A staged chart, with values that every rendering of it needs."""

    helm: str
    path: Path
    base: Values = field(default_factory=dict)

    def template(self, values: Values | None = None, release: str = "todo-app") -> str:
        """The manifest, exactly as Helm prints it."""
        return self._run(["template", release, str(self.path)], values or {})

    def render(self, values: Values | None = None, release: str = "todo-app") -> Rendered:
        documents = YAML(typ="safe").load_all(self.template(values, release))
        objects = [document for document in documents if document]
        keyed = {(o["kind"], o["metadata"]["name"]): o for o in objects}
        assert len(keyed) == len(objects), "two objects of one kind share a name"
        return Rendered(keyed)

    def refusal(self, values: Values) -> str:
        """What Helm says when it refuses `values`; a failure if it does not refuse them."""
        with pytest.raises(subprocess.CalledProcessError) as error:
            self.template(values)
        return str(error.value.stderr)

    def _run(self, arguments: list[str], values: Values) -> str:
        command = [self.helm, *arguments, "--kube-version", KUBE_VERSION, "--values", "-"]
        done = subprocess.run(
            command, input=json.dumps(overlaid(self.base, values)), capture_output=True, text=True, check=True
        )
        return done.stdout


@pytest.fixture(scope="session")
def helm() -> str:
    toolchain = locate_toolchain("auto", cache_folder())
    found = str(toolchain.helm) if toolchain is not None else shutil.which("helm")
    if not found:
        pytest.skip("no helm: none on PATH, and no toolchain yet")
    return found


@pytest.fixture(scope="session")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    root = tmp_path_factory.mktemp("charts")
    return lambda name: stage(CHARTS / name, root)


@pytest.fixture(scope="session")
def workload(helm: str, staged: Callable[[str], Path]) -> Chart:
    image = {"repository": "todo-backend", "tag": "1.0.0-aaaaaaaaaaaa"}
    return Chart(helm, staged("workload"), {"name": "web", "image": image})


@pytest.fixture(scope="session")
def todo_app(helm: str, staged: Callable[[str], Path]) -> Chart:
    components = ("backend", "frontend-web", "frontend-chatbot", "database")
    return Chart(helm, staged("todo-app"), {c: {"image": {"tag": "1.0.0-aaaaaaaaaaaa"}} for c in components})


@pytest.fixture(scope="session")
def todo(helm: str, staged: Callable[[str], Path]) -> Chart:
    components = ("backend", "frontend", "database")
    return Chart(helm, staged("todo"), {c: {"image": {"tag": "1.0.0-aaaaaaaaaaaa"}} for c in components})
