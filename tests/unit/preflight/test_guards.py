"""What is somebody else's is told before anything is built: by `up`, and by `validate` already."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.core.errors import ExitCode
from deployer.preflight import validate as validation
from tests.fakes.play import code, failed, played
from tests.fakes.shop import Shop


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    return Shop(tmp_path, monkeypatch)


def foreign(secret: str, **labels: str) -> dict[str, object]:
    return {"kind": "Secret", "metadata": {"name": secret, "namespace": "default", "labels": labels}, "type": "Opaque"}


def told(shop: Shop, version: str = "1") -> list[str]:
    """The errors of `validate`."""
    return [one.rule for one in validation.validate(shop.write(version), shop.here) if one.severity == "error"]


def test_a_secret_of_somebody_else_is_told_before_anything_is_built_or_written(shop: Shop) -> None:
    shop.kube.put(foreign("app"))
    assert told(shop) == ["SECRET_FOREIGN"]
    _, error = failed(shop.up("1"))
    assert (code(error), error.exit_code) == ("SECRET_FOREIGN", ExitCode.REFUSED)
    assert (shop.images.built, shop.kube.names("Secret")) == ([], ["app"])


def test_it_may_be_taken_over(shop: Shop) -> None:
    shop.kube.put(foreign("app"))
    played(shop.up("1", adopt=True))
    assert shop.serves == ("1", "token-of-1")
    assert told(shop) == []


def test_our_own_is_no_finding_although_it_changes(shop: Shop) -> None:
    played(shop.up("1"))
    assert told(shop, "2") == []


def test_a_release_of_somebody_else_is_told_by_validate_too(shop: Shop) -> None:
    stored = foreign("sh.helm.release.v1.web.v1", owner="helm", name="web", version="1", status="deployed")
    shop.kube.put({**stored, "type": "helm.sh/release.v1"})
    assert told(shop) == ["RELEASE_FOREIGN"]
