"""Releases of somebody else's, and of another application of ours, are not taken over unasked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deployer.errors import DeployError, ExitCode
from deployer.ports import APPLICATION_LABEL, INPUTS_LABEL
from deployer.record import record_name
from tests.fakes.helm import release_secret
from tests.fakes.play import failed, played
from tests.fakes.shop import Shop


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    return Shop(tmp_path, monkeypatch)


def told(error: DeployError) -> tuple[str, str, ExitCode]:
    return error.problems[0].code, error.problems[0].title, error.exit_code


def test_a_release_that_somebody_else_made_is_left_alone(shop: Shop) -> None:
    shop.kube.put(release_secret("web", "default", 4, "deployed"))
    _, error = failed(shop.up("1"))
    title = "release `web` in namespace `default` was made by somebody else"
    assert told(error) == ("RELEASE_FOREIGN", title, ExitCode.REFUSED)
    assert "revision 4, deployed" in error.problems[0].detail
    assert (shop.helm.requests, shop.images.built) == ([], [])


def test_a_release_of_another_application_is_left_alone(shop: Shop) -> None:
    labels = {APPLICATION_LABEL: "library", INPUTS_LABEL: "x"}
    shop.kube.put(release_secret("web", "default", 1, "deployed", labels=labels))
    _, error = failed(shop.up("1"))
    title = "release `web` in namespace `default` was made by application `library`"
    assert told(error) == ("RELEASE_FOREIGN", title, ExitCode.REFUSED)


def test_it_is_taken_over_when_that_is_asked_for(shop: Shop) -> None:
    shop.kube.put(release_secret("web", "default", 4, "deployed"))
    played(shop.up("1", adopt=True))
    assert shop.record.history[-1].releases == {"web": 5}
    played(shop.up("2"))
    assert shop.serves[0] == "2"


def test_a_first_install_that_was_killed_before_its_record_goes_on(shop: Shop) -> None:
    played(shop.up("1"))
    shop.kube.drop("Secret", "default", record_name("shop"))
    played(shop.up("1"))
    assert shop.record.history[-1].releases == {"web": 2}


def test_what_helm_has_uninstalled_and_kept_the_history_of_is_free(shop: Shop) -> None:
    shop.kube.put(release_secret("web", "default", 4, "uninstalled"))
    played(shop.up("1"))


def test_our_mark_is_on_every_revision(shop: Shop) -> None:
    played(shop.up("1"))
    assert shop.helm.requests[-1].labels[APPLICATION_LABEL] == "shop"
    assert replace(shop.helm.requests[-1], labels={}).labels == {}
