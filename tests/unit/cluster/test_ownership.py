"""Two applications, and people with helm, on one cluster: whose release it is decides who may change it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deployer.cluster.ownership import Touched, elsewhere, refuse_foreign
from deployer.config.spec import Spec
from deployer.core.errors import DeployError, ExitCode
from deployer.core.ports import INPUTS_LABEL
from deployer.state import record
from deployer.state.record import Record, ReleaseRecord
from tests.fakes import FakeKube
from tests.fakes.helm import release_secret
from tests.fakes.play import code, failed, played
from tests.fakes.shop import Shop

WEB = Touched("shop", frozenset({("default", "web")}), frozenset())


def kept(*names: str, namespace: str = "default") -> Record:
    known = record.new_record()
    for name in names:
        known = record.with_release(known, name, ReleaseRecord(namespace, 1, "digest", ()))
    return known


def refusal(kube: FakeKube, *, adopt: bool = False) -> str:
    try:
        refuse_foreign(WEB, kube, adopt=adopt)
    except DeployError as error:
        assert error.exit_code is ExitCode.REFUSED
        return code(error)
    return ""


@pytest.fixture
def kube() -> FakeKube:
    return FakeKube()


def test_a_free_name_is_free(kube: FakeKube) -> None:
    kube.put(release_secret("web", "elsewhere", 1, "deployed"))
    assert refusal(kube) == ""


def test_another_applications_release_is_never_taken(kube: FakeKube) -> None:
    kube.put(release_secret("web", "default", 3, "deployed", labels={INPUTS_LABEL: "digest"}))
    kube.put(record.encode("garden", "plants", kept("web")))
    assert refusal(kube) == refusal(kube, adopt=True) == "RELEASE_TAKEN"


def test_a_persons_release_is_taken_when_that_was_said(kube: FakeKube) -> None:
    kube.put(release_secret("web", "default", 1, "deployed"))
    kube.put(record.encode("garden", "plants", kept("web", namespace="elsewhere")))
    assert (refusal(kube), refusal(kube, adopt=True)) == ("RELEASE_FOREIGN", "")


def test_our_own_is_ours_also_when_its_record_was_lost(kube: FakeKube) -> None:
    kube.put(release_secret("web", "default", 1, "deployed", labels={INPUTS_LABEL: "digest"}))
    assert refusal(kube) == ""


def test_a_release_that_a_person_has_put_in_the_place_of_ours_is_theirs(kube: FakeKube) -> None:
    kube.put(release_secret("web", "default", 1, "deployed"))
    assert refusal(kube) == "RELEASE_FOREIGN"


def test_a_persons_rollback_to_before_we_adopted_it_does_not_make_it_theirs(kube: FakeKube) -> None:
    kube.put(release_secret("web", "default", 1, "superseded"))
    kube.put(release_secret("web", "default", 2, "superseded", labels={INPUTS_LABEL: "digest"}))
    kube.put(release_secret("web", "default", 3, "deployed"))
    assert refusal(kube) == ""


def test_up_refuses_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(tmp_path, monkeypatch)
    shop.kube.put(release_secret("web", "default", 1, "deployed"))
    _, error = failed(shop.up("1"))
    assert code(error) == "RELEASE_FOREIGN"
    assert (shop.images.built, shop.helm.requests, shop.kube.names("Secret")) == (
        [], [], ["sh.helm.release.v1.web.v1"]
    )  # fmt: skip
    played(shop.up("1", adopt=True))
    assert shop.helm.served("web") == "1"


@pytest.mark.parametrize(
    ("context", "server", "asked"),
    [
        ("kind-dev", "https://127.0.0.1:40123", False),
        ("k3d-dev", "https://0.0.0.0:6443", False),
        ("docker-desktop", "https://kubernetes.docker.internal:6443", False),
        ("team-dev", "https://10.1.2.3:6443", True),
        ("kind-dev", "https://10.1.2.3:6443", True),
        ("production", "https://127.0.0.1:6443", True),  # a tunnel
    ],
)
def test_a_cluster_that_is_not_of_this_machine_is_shown_with_its_user(
    tmp_path: Path, context: str, server: str, asked: bool
) -> None:
    config = {
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "contexts": [{"name": context, "context": {"cluster": "c", "user": "anna"}}],
    }
    (tmp_path / "config").write_text(json.dumps(config))
    document: dict[str, Any] = {"apiVersion": "todo-deploy/v1", "application": "shop", "namespace": "shop-anna"}
    document |= {"cluster": {"provider": "context", "context": context}, "releases": {"web": {"chart": "c"}}}
    found = elsewhere(Spec.model_validate(document), tmp_path / "config")
    assert (found is not None) == asked
    if found is not None:
        assert all(text in found.question for text in (context, server, "anna", "shop-anna"))
    del document["cluster"]
    assert elsewhere(Spec.model_validate(document), tmp_path / "config") is None
