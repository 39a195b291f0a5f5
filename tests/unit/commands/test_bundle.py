"""`bundle save` on one machine, `bundle load` and `up` on another: only the ports are fakes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from deployer.commands import bundle as story
from deployer.commands.bundle import Loaded, Saved, load, save
from deployer.core.errors import DeployError
from deployer.core.events import Event, Item, ItemState, Warned
from deployer.core.ports import ImageFacts
from deployer.toolchain import bundle
from deployer.toolchain.bundle import Part
from tests.fakes.images import FakeImages
from tests.fakes.play import code, failed, played
from tests.fakes.scene import TOOLS
from tests.fakes.shop import Shop

IMAGES: frozenset[Part] = frozenset(("images", "bases", "charts"))


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setattr(story, "locate_toolchain", lambda *_: TOOLS)
    made = Shop(tmp_path, monkeypatch)
    played(made.up("1"))
    return made


def saved(shop: Shop, parts: frozenset[Part] = IMAGES) -> Saved:
    _, done = played(save(shop.write("1"), {"TOKEN": "token-of-1"}, shop.here, shop.root / "b", parts))
    return done


def loaded(shop: Shop, parts: frozenset[Part] = IMAGES) -> Loaded:
    _, done = played(load(shop.root / "b", shop.here, parts))
    return done


def texts(events: list[Event], state: ItemState) -> list[str]:
    return [one.text for one in events if isinstance(one, Item) and one.stage == "images" and one.state is state]


def test_what_a_bundle_has_is_not_built(shop: Shop) -> None:
    (ref,) = shop.images.known
    assert list(saved(shop).manifest.cluster) == [ref]
    assert loaded(shop).changed
    assert not loaded(shop).changed
    shop.images = FakeImages()
    events, done = played(shop.up("1", build=False))
    assert (done.changed, [one.reason for one in done.images]) == (True, ["from the bundle"])
    assert f"{ref} from the bundle" in texts(events, ItemState.DONE)
    assert shop.images.built == []
    _, again = played(shop.up("1"))
    assert (again.changed, [one.reason for one in again.images]) == (False, ["unchanged"])


def test_other_sources_are_built_although_there_is_a_bundle(shop: Shop) -> None:
    saved(shop)
    loaded(shop)
    shop.images = FakeImages()
    _, done = played(shop.up("2"))
    assert [one.built for one in done.images] == [True]
    played(shop.up("1"))
    shop.images = FakeImages()
    _, rebuilt = played(shop.up("1", rebuild=True))
    assert [one.built for one in rebuilt.images] == [True]


def test_images_that_only_pods_use_come_along(shop: Shop) -> None:
    shop.kube.put({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "cache", "namespace": "default"},
        "spec": {"containers": [{"name": "cache", "image": "redis:7"}, {"name": "gone", "image": "gone:1"}]},
    })  # fmt: skip
    shop.images.known["redis:7"] = ImageFacts("redis:7", "sha256:7", 1, "", "amd64")
    assert "redis:7" in saved(shop).manifest.cluster
    loaded(shop)
    del shop.images.known["redis:7"]
    played(shop.up("1"))
    assert "redis:7" in shop.images.known


def test_an_image_that_is_not_built_is_named_and_nothing_is_written(shop: Shop) -> None:
    _, error = failed(save(shop.write("2"), {"TOKEN": "t"}, shop.here, shop.root / "b", IMAGES))
    assert code(error) == "BUNDLE_INCOMPLETE"
    assert not (shop.root / "b").exists()
    played(save(shop.write("2"), {"TOKEN": "t"}, shop.here, shop.root / "b", frozenset(("charts",))))


def test_a_folder_that_is_not_there_is_named(shop: Shop) -> None:
    _, error = failed(save(shop.write("1"), {"TOKEN": "t"}, shop.here, shop.root / "no" / "b", IMAGES))
    assert code(error) == "BUNDLE_FOLDER"


def test_kept_images_that_are_damaged_are_built_instead(shop: Shop) -> None:
    saved(shop)
    loaded(shop)
    kept = bundle.kept_images("shop", shop.here.cache_dir)
    assert kept is not None
    kept.archive.write_bytes(b"damaged")
    shop.images = FakeImages()
    events, done = played(shop.up("1"))
    assert "BUNDLE_KEPT" in [one.problem.code for one in events if isinstance(one, Warned)]
    assert [one.built for one in done.images] == [True]


def test_the_toolchain_of_another_version_is_refused(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = bundle.Programs("source", "another key")
    manifest = bundle.Manifest(1, "9.9.9", bundle.platform(), "shop", programs)
    played(bundle.write_bundle(shop.root / "b", manifest, ()))
    _, error = failed(load(shop.root / "b", shop.here, frozenset(bundle.PARTS)))
    assert code(error) == "BUNDLE_TOOL"
    assert not loaded(shop).changed


def test_no_secret_value_is_in_a_bundle(shop: Shop) -> None:
    """Env file, Secrets, the record and kubeconfigs are in none of its members."""
    secret = "canary-4f9ab1c6e2"
    (shop.root / ".env").write_text(f"TOKEN={secret}\n")
    (shop.root / "chart/.env").write_text(secret)
    played(shop.up("1", env={"TOKEN": secret}))
    home = Path(shop.here.env["HOME"])
    for name in (".minikube/certs/key.pem", ".minikube/ca.key", ".kube/config", ".minikube/profiles/p/client.key"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(secret)
    loaded_spec = shop.write("1")
    (shop.root / ".env").write_text(f"TOKEN={secret}\n")
    parts = frozenset(bundle.PARTS) - {"toolchain"}
    _, done = played(save(loaded_spec, {"TOKEN": secret}, shop.here, shop.root / "b", parts))
    assert len(done.manifest.members) > 5
    with bundle.open_bundle(shop.root / "b") as opened:
        for member in opened.manifest.members:
            assert secret.encode() not in b"".join(opened.chunks(member)), member.name
    assert secret not in json.dumps(str(done.manifest))


def test_programs_of_path_are_saved_unless_they_are_scripts(shop: Shop, tmp_path: Path) -> None:
    for name in ("minikube", "helm", "kubectl"):
        (tmp_path / name).write_bytes(b"\x7fELF " + name.encode())
        (tmp_path / name).chmod(0o755)
    cached = tmp_path / ".minikube/cache/linux/amd64/v1.37.2/kubelet"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"kubelet")
    (cached.parents[1] / "v1.2.3").mkdir()
    (cached.parents[1] / "v1.2.3/kubelet").write_bytes(b"of another version")
    tools = replace(TOOLS, **{name: tmp_path / name for name in ("minikube", "helm", "kubectl")})
    env = {"HOME": str(tmp_path)}
    names = [one.name for one in bundle.toolchain_files(tools, shop.here.cache_dir, env, "v1.37.2")]
    assert [name.rpartition("/")[2] for name in names] == ["minikube", "helm", "kubectl", "kubelet"]
    assert names[-1] == "minikube/cache/linux/amd64/v1.37.2/kubelet"
    (tmp_path / "helm").write_text("#!/bin/sh\nexec other\n")
    with pytest.raises(DeployError) as caught:
        list(bundle.toolchain_files(tools, shop.here.cache_dir, env, "v1.37.2"))
    assert code(caught.value) == "BUNDLE_PROGRAM"
