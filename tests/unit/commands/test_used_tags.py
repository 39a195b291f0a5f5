"""A version X.Y.Z names one content for ever, on a cluster that forgot the deployment too."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.core.ports import ImageFacts
from tests.fakes.play import played
from tests.fakes.shop import SPEC, Shop


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    made = Shop(tmp_path, monkeypatch)
    text = SPEC.replace(
        "{repository: shop/api, context: api}", "{repository: shop/api, context: api, tagPolicy: semver}"
    )
    (made.root / "todo-deploy.yaml").write_text(text)
    return made


def up(shop: Shop, version: str) -> str:
    _, result = played(shop.up(version))
    return result.images[0].ref


def test_a_version_that_an_image_in_the_daemon_has_is_not_given_to_other_content(shop: Shop) -> None:
    assert up(shop, "1") == "shop/api:0.1.0"
    played(shop.down(volumes=True))
    assert not shop.record.tags
    assert up(shop, "2") == "shop/api:0.1.1"
    assert up(shop, "1") == "shop/api:0.1.0"
    assert [one.ref for one in shop.images.built] == ["shop/api:0.1.0", "shop/api:0.1.1"]


def test_an_image_that_somebody_else_made_keeps_its_version(shop: Shop) -> None:
    shop.images.known["shop/api:0.1.0"] = ImageFacts("shop/api:0.1.0", "sha256:theirs", 1000, "", "amd64")
    assert up(shop, "1") == "shop/api:0.1.1"


def test_a_version_that_the_registry_has_from_somebody_else_is_not_given_to_other_content(shop: Shop) -> None:
    path = shop.root / "todo-deploy.yaml"
    path.write_text(path.read_text() + "registry: {address: r.example.com}\n")
    theirs = "r.example.com/shop/api:0.1.0"
    shop.images.published_refs[theirs] = "sha256:of-the-manifest"
    shop.images.remote[theirs] = ImageFacts(theirs, "sha256:theirs", 1000, "", "amd64", {"todo-deploy.dev/digest": "x"})
    assert up(shop, "1") == "r.example.com/shop/api:0.1.1"
    assert [one.ref for one in shop.images.built] == ["r.example.com/shop/api:0.1.1"]
    # The same content in a cluster that knows nothing of it: the registry's image is used.
    played(shop.down(volumes=True))
    assert up(shop, "1") == "r.example.com/shop/api:0.1.1"
    assert len(shop.images.built) == 1
