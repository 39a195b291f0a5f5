"""What the manifests of our own hold: pinned, small, and nothing that a registry would be asked for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deployer.cluster.addons import images
from deployer.cluster.addons.images import ADDON_LABEL, FOLDER, address_range, templates, waves
from deployer.cluster.addons.table import ADDONS, Addon
from deployer.core.errors import DeployError
from deployer.core.ports import KINDS, Object
from deployer.toolchain.files import RECIPES

EVERY = pytest.mark.parametrize("addon", ADDONS.values(), ids=list(ADDONS))


def objects(addon: Addon, cache: Path = Path("/cache")) -> list[Object]:
    known = {"NODE_IP": "192.0.2.10", "ADDRESSES": "192.0.2.200-192.0.2.250", "CERTIFICATE": "Q0E=", "PULL": "Never"}
    made = waves(addon.name, templates(addon.name), {**known, **images.image_values(addon, cache, {})})
    return [body for wave in made for body in wave]


@EVERY
def test_every_object_is_of_a_known_kind_and_carries_the_addons_label(addon: Addon) -> None:
    for body in objects(addon):
        assert body["kind"] in KINDS
        assert body["metadata"]["labels"][ADDON_LABEL] == addon.name
        assert bool(body["metadata"].get("namespace")) == KINDS[body["kind"]].namespaced


@EVERY
def test_pods_run_our_images_and_say_when_they_are_ready(addon: Addon) -> None:
    pods = [body["spec"]["template"]["spec"] for body in objects(addon) if body["kind"] in ("Deployment", "DaemonSet")]
    assert pods
    refs = {images.recipe(image, Path("/cache"), {}).ref for image in addon.images}
    assert {one["image"] for pod in pods for one in pod["containers"]} == refs
    for one in (container for pod in pods for container in pod["containers"]):
        assert one["imagePullPolicy"] == "Never"
        assert one["readinessProbe"] and one["resources"]["limits"]["memory"]
        assert one["securityContext"]["readOnlyRootFilesystem"]
        assert one["securityContext"]["capabilities"]["drop"] == ["ALL"]


@EVERY
def test_the_version_is_the_one_of_the_module(addon: Addon) -> None:
    for image in addon.images:
        text = (FOLDER.parent / "modules" / image.build.name / "go.mod").read_text()
        assert re.search(rf"^require \S+ {re.escape(image.version)}$", text, re.MULTILINE)
        assert (FOLDER.parent / "modules" / image.build.name / "go.sum").stat().st_size > 1000


def test_every_folder_belongs_to_an_addon() -> None:
    used = {name for addon in ADDONS.values() for name in (addon.name, addon.minikube_manifests)} - {""}
    assert {path.name for path in FOLDER.iterdir()} == used


def test_metrics_are_registered_last_and_by_certificate() -> None:
    last = objects(ADDONS["metrics-server"])[-1]
    assert last["kind"] == "APIService"
    assert last["spec"]["caBundle"] == "Q0E="
    assert not last["spec"].get("insecureSkipTLSVerify")


def test_the_image_is_named_by_what_it_is_made_of(tmp_path: Path) -> None:
    image = ADDONS["metallb"].images[0]
    ref = images.recipe(image, tmp_path, {}).ref
    assert re.fullmatch(r"todo-deploy\.local/addon-metallb/controller:v0\.15\.2-[0-9a-f]{8}", ref)
    assert images.recipe(image, tmp_path / "elsewhere", {}).ref == ref
    assert images.recipe(ADDONS["metallb"].images[1], tmp_path, {}).ref != ref
    assert (RECIPES / "images" / "binary.Dockerfile").exists()


@pytest.mark.parametrize(
    ("network", "node", "addresses"),
    [
        ("192.168.49.0/24", "192.168.49.2", "192.168.49.200-192.168.49.250"),
        (None, "192.168.58.2", "192.168.58.200-192.168.58.250"),
        ("10.1.0.0/16", "10.1.0.2", "10.1.255.200-10.1.255.250"),
    ],
)
def test_addresses_are_the_last_of_the_nodes_network(network: str | None, node: str, addresses: str) -> None:
    assert address_range(network, node) == addresses


@pytest.mark.parametrize(("network", "node"), [("192.168.49.0/28", "192.168.49.2"), (None, None)])
def test_a_network_without_room_is_refused(network: str | None, node: str | None) -> None:
    with pytest.raises(DeployError) as caught:
        address_range(network, node)
    assert caught.value.problems[0].code == "ADDON_NETWORK"
