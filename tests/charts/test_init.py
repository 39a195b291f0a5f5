"""`init` with the real helm: what it drafts for charts that know nothing of ours, and for ours."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deployer.commands.validate import offline_plan
from deployer.composition import Machine
from deployer.config.load import load_spec
from deployer.core.image_ref import parse_ref
from deployer.core.steps import SystemClock
from deployer.core.yaml import parse_manifest
from deployer.preflight.rules.model import is_test, workload_of
from tests.charts.staging import CHARTS
from tests.shapes import SHAPES, write

ROOT = CHARTS.parent
SIXTH = ROOT / "tests" / "data" / "sixth"


def drafted(folder: Path, helm: str, home: Path) -> dict[str, Any]:
    """The document that `init` drafts on a machine that has only this helm on its PATH."""
    tools = home / "bin"
    tools.mkdir(parents=True)
    (tools / "helm").symlink_to(Path(helm).resolve())
    environment = {"PATH": f"{tools}:/usr/bin:/bin", "HOME": str(home), "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"}
    words = [sys.executable, "-m", "deployer", "init", "--yes"]
    done = subprocess.run(words, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(load_spec(folder / "todo-deploy.yaml").document)


def test_the_draft_is_what_a_person_wrote_but_for_what_only_they_know(helm: str, tmp_path: Path) -> None:
    folder = tmp_path / "lending"
    shutil.copytree(SIXTH, folder, ignore=lambda *_: ["todo-deploy.yaml"])
    draft, written = drafted(folder, helm, tmp_path / "home"), load_spec(SIXTH / "todo-deploy.yaml").document
    assert (draft["application"], draft["namespace"]) == (written["application"], written["namespace"])
    # Where images come from, how they reach the charts, and which Secrets they need is the same.
    for image, wanted in written["images"].items():
        for key in ("context", "dockerfile"):
            assert draft["images"][image].get(key) == wanted.get(key)
    catalog, desk = draft["releases"]["lending-catalog"], draft["releases"]["desk"]
    by_hand = written["releases"]["lending-catalog"]
    registry = catalog["images"]["shelf"].pop("shelf.image.registry")
    assert (registry, by_hand["values"].pop("shelf")) == ("{registry}", {"image": {"registry": "docker.io"}})
    assert (catalog["images"], catalog["values"]) == (by_hand["images"], by_hand["values"])
    assert catalog["secrets"] == {"lending-catalog-auth": {"auth.existingSecret": "{name}"}}
    assert desk["images"] == written["releases"]["lending-desk"]["images"]
    assert draft["secrets"]["desk-session"] == written["secrets"]["desk-session"]
    # What a person decided otherwise: the kind of a key, a release's own name, which page proves it, an argument.
    assert draft["secrets"]["lending-catalog-auth"]["keys"] == {"api-token": {"from": "CATALOG_TOKEN"}}
    assert draft["urls"]["front-desk"] == {"service": "front-desk", "nodePort": 30467, "path": "/up"}
    assert draft["urls"]["lending-catalog"] == {"service": "lending-catalog", "path": "/healthz"}
    assert "args" not in draft["images"]["desk"]
    assert "rules" not in draft, "what the charts could do better is advice"


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """The default application, without its spec and the others."""
    folder = tmp_path / "todo"
    for name in ("app", "dockerfiles"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("node_modules"))
    for name in ("component", "workload", "todo-app"):
        shutil.copytree(CHARTS / name, folder / "charts" / name)
    shutil.copy(ROOT / ".env.example", folder)
    return folder


def test_our_own_charts_are_read_although_they_render_nothing_without_images(
    helm: str, ours: Path, tmp_path: Path
) -> None:
    draft, written = drafted(ours, helm, tmp_path / "home"), load_spec(ROOT / "todo-deploy.yaml").document
    assert {name: (one["context"], one["dockerfile"], one["bases"]) for name, one in draft["images"].items()} == {
        name: (one["context"], one["dockerfile"], one["bases"])
        for name, one in written["images"].items() if name != "database"  # it is off unless the spec switches it on
    }  # fmt: skip
    (release,) = draft["releases"].values()
    known = written["releases"]["todo-app"]["images"]
    assert release["images"] == {name: known[name] for name in release["images"]}
    assert set(draft["secrets"]["app-secrets"]["keys"]) == set(written["secrets"]["app-secrets"]["keys"])
    assert {one["nodePort"] for one in draft["urls"].values()} == {30000, 30001}


@pytest.mark.parametrize("name", SHAPES)
def test_a_draft_needs_no_edit_for_the_shapes_of_repositories(name: str, helm: str, tmp_path: Path) -> None:
    shape, folder = SHAPES[name], tmp_path / f"shape-{name}"
    draft = drafted(write(shape, folder), helm, tmp_path / "home")
    assert len(draft["releases"]) == shape.releases and len(draft["urls"]) == shape.urls
    assert not {one["chart"] for one in draft["releases"].values()} & set(shape.without)
    here = Machine({}, tmp_path / "cache", tmp_path / "state", SystemClock())
    plan = offline_plan(load_spec(folder / "todo-deploy.yaml"), shape.env, {}, here)
    built = {parse_ref(image.ref).familiar for image in plan.images}
    runs: dict[str, set[str]] = {}
    for release in plan.releases:
        words = [helm, "template", release.name, str(release.chart), "--values", "-", "--kube-version", "v1.37.2"]
        text = subprocess.run(
            words, input=json.dumps(release.values), capture_output=True, text=True, check=True
        ).stdout
        for work in filter(None, (workload_of(release, one) for one in parse_manifest(text) if not is_test(one))):
            runs[work.label] = {parse_ref(one["image"]).familiar for one in work.containers(init=True)}
    assert set(runs) == set(shape.images), "what the draft deploys is the application, all of it"
    assert set().union(*runs.values()) == built, "pods run what is built here, and nothing else is built"
