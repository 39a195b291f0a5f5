from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest

from deployer.core.errors import DeployError, ExitCode, Problem
from deployer.core.ports import Object, ObjectRef
from deployer.state import record
from deployer.state.record import Record, ReleaseRecord
from tests.fakes import FakeKube

RELEASE = ReleaseRecord("default", 3, "inputs", (ObjectRef("Deployment", "default", "api"),))
FULL = Record(
    salt="salt",
    tags={"todo-api": {"1.0.0": "digest"}},
    releases={"app": RELEASE},
    claims=(ObjectRef("PersistentVolumeClaim", "default", "data"),),
    version="17",
)


def test_a_record_comes_back_as_it_was_written() -> None:
    assert record.decode(record.encode("todo", "default", FULL)) == FULL


def test_a_new_record_is_written_without_a_version() -> None:
    body = record.encode("todo", "default", record.new_record())
    assert "resourceVersion" not in body["metadata"]
    assert (body["metadata"]["name"], body["kind"]) == ("todo-deploy.todo", "Secret")


def test_two_applications_have_two_salts_and_two_names() -> None:
    assert record.new_record().salt != record.new_record().salt
    assert record.record_name("a") != record.record_name("b")


def test_a_record_of_an_older_version_without_claims_is_read() -> None:
    body = record.encode("todo", "default", FULL)
    document = json.loads(base64.b64decode(body["data"]["record"]))
    del document["claims"]
    body["data"]["record"] = base64.b64encode(json.dumps(document).encode()).decode()
    assert record.decode(body) == replace(FULL, claims=())


def test_the_same_record_is_the_same_object() -> None:
    again = replace(FULL, tags={"todo-api": {"1.0.0": "digest"}}, releases={"app": RELEASE})
    assert record.encode("todo", "default", FULL) == record.encode("todo", "default", again)


def test_tags_are_added_and_none_is_forgotten() -> None:
    more = record.with_tags(FULL, {"todo-api": {"1.0.1": "other"}, "todo-web": {"2.0.0": "x"}})
    assert more.tags == {"todo-api": {"1.0.0": "digest", "1.0.1": "other"}, "todo-web": {"2.0.0": "x"}}
    assert FULL.tags == {"todo-api": {"1.0.0": "digest"}}


def test_known_tags_leave_the_record_equal() -> None:
    assert record.with_tags(FULL, {"todo-api": {"1.0.0": "digest"}}) == FULL


def test_a_release_replaces_its_older_self_alone() -> None:
    newer = ReleaseRecord("default", 4, "other", ())
    assert record.with_release(FULL, "app", newer).releases == {"app": newer}
    assert record.with_release(FULL, "db", newer).releases == {"app": RELEASE, "db": newer}


def test_the_salt_is_not_shown() -> None:
    assert "salt='" not in repr(FULL)


def altered(application: str = "todo", **changes: object) -> Object:
    """A record with other fields; None takes a field out."""
    body = record.encode(application, "default", FULL)
    document = json.loads(base64.b64decode(body["data"]["record"])) | changes
    kept = {key: value for key, value in document.items() if value is not None}
    body["data"]["record"] = base64.b64encode(json.dumps(kept).encode()).decode()
    return body


def refusal(body: Object) -> Problem:
    with pytest.raises(DeployError) as caught:
        record.decode(body)
    assert caught.value.exit_code is ExitCode.REFUSED
    return caught.value.problems[0]


def test_a_record_of_a_newer_version_is_refused() -> None:
    assert refusal(altered(format=2, releases="elsewhere now")).code == "RECORD_NEWER"


@pytest.mark.parametrize(
    "changes",
    [{"salt": 3}, {"salt": None}, {"releases": []}, {"releases": {"app": None}}, {"history": [None]},
     {"tags": {"a": 1}}, {"history": [{"number": "1"}]}, {"claims": [["Pod"]]},
     {"releases": {"app": {"namespace": "x"}}}],
)  # fmt: skip
def test_a_damaged_record_is_refused(changes: dict[str, object]) -> None:
    assert refusal(altered(**changes)).code == "RECORD_DAMAGED"


@pytest.mark.parametrize("data", [None, {}, {"record": "%"}, {"record": "bm8="}, {"record": "//4="}, {"record": 3}])
def test_a_secret_without_a_record_is_refused(data: object) -> None:
    assert refusal({**record.encode("todo", "default", FULL), "data": data}).code == "RECORD_DAMAGED"


def test_records_of_other_applications_that_cannot_be_read_are_left_out_with_a_warning() -> None:
    kube = FakeKube()
    for body in (altered("one"), altered("two", format=2), altered("three", salt=3)):
        kube.put(body)
    found, problems = record.of_all_applications(kube)
    assert list(found) == ["one"]
    assert {problem.code for problem in problems} == {"RECORD_SKIPPED"}
    assert len(problems) == 2
