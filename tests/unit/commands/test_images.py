from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deployer.commands.connection import Opened
from deployer.commands.images import built_images, pruned
from deployer.config.load import load_spec
from deployer.core.events import Warned
from deployer.plan import BASE_LABEL
from deployer.state.lock import acquire
from tests.fakes.cluster import RUNNING
from tests.fakes.play import code, failed, played
from tests.fakes.scene import TOOLS, WAY
from tests.fakes.shop import Shop


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    made = Shop(tmp_path, monkeypatch)
    played(made.up("1"))
    return made


def opened(shop: Shop) -> Opened:
    return Opened(load_spec(shop.root / "todo-deploy.yaml"), RUNNING, TOOLS, shop.kube, shop.record, WAY)


def test_an_image_that_serves_shows_where_it_is_and_what_it_is_made_of(shop: Shop) -> None:
    (ref,) = shop.images.known
    facts = shop.images.known[ref]
    labels = {**facts.labels, BASE_LABEL: "python:3.11-slim"}
    shop.images.known[ref] = replace(facts, size=123, layers=7, created="2026-02-01T10:00:00Z", labels=labels)
    (image,) = built_images(opened(shop), shop.here)
    assert (image.name, f"{image.repository}:{image.tag}", image.registry) == ("api", ref, "minikube (local)")
    assert (image.size, image.layers, image.created) == (123, 7, "2026-02-01T10:00:00Z")
    assert (image.base, image.digest) == ("python:3.11-slim", facts.id)


def test_what_a_run_at_work_has_built_is_not_pruned(shop: Shop) -> None:
    stray = replace(shop.images.known[next(iter(shop.images.known))], ref="api:1.0.0-000000000000", id="sha256:0")
    shop.images.known[stray.ref] = stray
    loaded = load_spec(shop.root / "todo-deploy.yaml")
    _, waste = played(pruned(loaded, shop.here, remove=False))
    assert [one.ref for one in waste.images] == [stray.ref]
    lock = shop.here.folder(loaded.spec) / "lock"
    _, held = played(acquire(lock, shop.kube.clock))
    assert held is not None
    events, error = failed(pruned(loaded, shop.here, remove=True))
    assert code(error) == "LOCKED"
    assert [one.problem.code for one in events if isinstance(one, Warned)] == ["LOCK_WAIT"]
    assert stray.ref in shop.images.known
    held.close()
    played(pruned(loaded, shop.here, remove=True))
    assert stray.ref not in shop.images.known


def test_an_image_that_is_gone_is_named_without_a_digest(shop: Shop) -> None:
    shop.images.known.clear()
    (image,) = built_images(opened(shop), shop.here)
    assert (image.name, image.digest, image.layers) == ("api", "", 0)
