from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from random import Random

import pytest

from deployer.core.errors import ExitCode
from deployer.core.ports import INPUTS_LABEL, VERDICT_LABEL, Object
from deployer.helm import storage
from tests import ROOT
from tests.fakes.helm import release_secret

# Written by helm 3 itself as the second revision of a chart with one ConfigMap; only the namespace's name was changed.
RECORDED = json.loads((ROOT / "tests" / "fakes" / "helm_secret.json").read_text())


@pytest.fixture(params=["recorded", "fake"])
def secret(request: pytest.FixtureRequest) -> Object:
    if request.param == "recorded":
        return dict(RECORDED)
    return release_secret("probe", "default", 2, "deployed", description="why", labels={INPUTS_LABEL: "abc"}, updated=7)


def test_a_revision_is_read_from_labels_alone(secret: Object) -> None:
    bare = {"metadata": secret["metadata"]}
    (found,) = storage.revisions([bare], "probe")
    assert (found.release, found.revision, found.status) == ("probe", 2, "deployed")
    assert found.namespace == "default"
    assert found.inputs == "abc"
    assert found.verdict == ""
    assert found.updated.isdigit()
    assert secret["metadata"]["name"] == storage.secret_name("probe", 2)


def test_a_document_is_read(secret: Object) -> None:
    document = storage.decode(secret)
    assert (document["name"], document["version"], document["info"]["status"]) == ("probe", 2, "deployed")
    assert document["info"]["description"] == "why"
    assert isinstance(document["manifest"], str)


def test_another_status_changes_label_and_document_and_nothing_else(secret: Object) -> None:
    before = storage.decode(secret)
    changed = storage.with_status(secret, "failed", "it crashes")
    after = storage.decode(changed)
    assert changed["metadata"]["labels"]["status"] == after["info"]["status"] == "failed"
    assert after["info"]["description"] == "it crashes"
    untouched = {**after, "info": {**after["info"], "status": "deployed", "description": "why"}}
    assert untouched == before
    assert {**changed["metadata"]["labels"], "status": "deployed"} == secret["metadata"]["labels"]
    assert {**changed["metadata"], "labels": None} == {**secret["metadata"], "labels": None}
    assert changed["type"] == secret["type"] == "helm.sh/release.v1"


def test_the_given_secret_is_left_as_it_is(secret: Object) -> None:
    before = json.dumps(secret, sort_keys=True)
    storage.with_status(secret, "failed", "why")
    assert json.dumps(secret, sort_keys=True) == before


def test_what_is_written_has_helms_packing() -> None:
    packed = storage.with_status(RECORDED, "failed", "why")["data"]["release"]
    inner = base64.b64decode(base64.b64decode(packed, validate=True), validate=True)
    assert inner[:3] == b"\x1f\x8b\x08"
    assert json.loads(gzip.decompress(inner))["info"]["status"] == "failed"


def test_the_same_change_gives_the_same_bytes() -> None:
    assert storage.with_status(RECORDED, "failed", "x") == storage.with_status(RECORDED, "failed", "x")


def test_revisions_are_sorted_by_number_and_not_as_words() -> None:
    secrets = [release_secret("app", "default", number, "superseded") for number in (10, 9, 1)]
    assert [one.revision for one in storage.revisions(secrets, "app")] == [1, 9, 10]


def test_other_releases_and_other_owners_are_left_out() -> None:
    stranger = release_secret("app", "default", 3, "deployed")
    stranger["metadata"]["labels"]["owner"] = "somebody"
    other = release_secret("app-two", "default", 2, "deployed")
    unlabelled = {"metadata": {"name": "app"}}
    assert storage.revisions([stranger, other, unlabelled], "app") == ()


def test_a_verdict_is_read_from_its_label() -> None:
    labels = {VERDICT_LABEL: "verified"}
    (found,) = storage.revisions([release_secret("app", "default", 1, "deployed", labels=labels)], "app")
    assert found.verdict == "verified"


@pytest.mark.parametrize(
    "data",
    [None, {}, {"release": 3}, {"release": "%"}, {"release": "bm8="}, {"release": storage.encode({})},
     {"release": storage.encode({"info": []})}, {"release": storage.encode({"info": {}, "hooks": ["x"]})},
     {"release": RECORDED["data"]["release"][:200]}],
    ids=range(9),
)  # fmt: skip
def test_a_secret_that_holds_no_revision_is_damaged(data: object) -> None:
    with pytest.raises(storage.Damaged) as caught:
        storage.decode({**RECORDED, "data": data})
    assert caught.value.exit_code is ExitCode.REFUSED


@pytest.mark.parametrize("version", [None, "x", "-1", "", "9" * 40])
def test_a_revision_without_a_number_is_none(version: str | None) -> None:
    labels = {**RECORDED["metadata"]["labels"], "version": version}
    assert storage.revisions([{"metadata": {**RECORDED["metadata"], "labels": labels}}], "probe") == ()


def test_the_size_of_a_stored_release_is_that_of_its_files_and_manifests(tmp_path: Path) -> None:
    random = Random(1)
    for name in ("files/a.bin", "charts/part/files/b.bin", "values.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(random.randbytes(900_000))
    own = storage.stored_size(tmp_path, {}, [])
    assert 1.3 < own / 900_000 < 1.4
    text = {"kind": "ConfigMap", "data": {"a": random.randbytes(300_000).hex()}}
    assert storage.stored_size(tmp_path, {}, [text]) > own + 300_000
    (tmp_path / "files/a.bin").unlink()
    assert storage.stored_size(tmp_path, {}, []) == 0
