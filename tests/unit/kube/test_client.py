"""What answers in an API server's place, without a server."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from deployer.core.errors import DeployError, ExitCode
from deployer.kube.client import KubeApi

CONFIG = {
    "contexts": [{"name": "tiny", "context": {"cluster": "tiny", "user": "tiny"}}],
    "clusters": [{"name": "tiny", "cluster": {"server": "https://127.0.0.1:1", "insecure-skip-tls-verify": True}}],
    "users": [{"name": "tiny", "user": {"token": "t"}}],
}


def api(path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes, status: int = 200) -> KubeApi:
    config = path / "config"
    config.write_text(json.dumps(CONFIG))
    made = KubeApi(config, "tiny", attempts=1)
    monkeypatch.setattr(made._client, "call_api", lambda *_, **__: SimpleNamespace(status=status, read=lambda: answer))
    return made


@pytest.mark.parametrize(
    "answer", [b"<html>log in</html>", b"", b"\x1f\x8b", b"[]", b'{"items": [null]}', b'{"items": 3}']
)
def test_what_is_no_api_server_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes) -> None:
    with pytest.raises(DeployError) as caught:
        api(tmp_path, monkeypatch, answer).list("Pod")
    assert (caught.value.problems[0].code, caught.value.exit_code) == ("API_STRANGE", ExitCode.MACHINE)


def test_a_refusal_that_is_a_page_has_its_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeployError) as caught:
        api(tmp_path, monkeypatch, b"<html>no</html>", 403).list("Pod")
    assert (caught.value.problems[0].code, caught.value.exit_code) == ("API_403", ExitCode.REFUSED)


def test_objects_are_well_formed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = [{"metadata": None, "spec": {"containers": "none"}, "status": []}]
    found = api(tmp_path, monkeypatch, json.dumps({"items": items}).encode()).list("Pod")
    assert found == [{"kind": "Pod", "metadata": {}, "spec": {}}]


def test_what_a_kubelet_measured_may_lack_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pods = [{"podRef": {"name": "a"}}, {"containers": [{"memory": {"workingSetBytes": "x"}}]}, None]
    made = api(tmp_path, monkeypatch, json.dumps({"node": {"fs": []}, "pods": pods}).encode())
    assert (made.memory_in_use("n"), made.free_disk("n")) == ({}, None)


def test_a_kind_that_is_not_in_the_table_is_discovered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = {"resource": "widgets", "scope": "Namespaced", "verbs": ["list"], "responseKind": {"kind": "Widget"}}
    group = {"metadata": {"name": "example.com"}, "versions": [{"version": "v1", "resources": [one]}]}
    asked: list[str] = []

    def answer(_: str, url: str, *__: object, **___: object) -> SimpleNamespace:
        asked.append(url.partition("127.0.0.1:1")[2].partition("?")[0])
        found = {"items": [{"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "a"}}]}
        document = {"kind": "APIGroupDiscoveryList", "items": [group] if url.endswith("apis") else []}
        body = json.dumps(found if "widgets" in url else document).encode()
        return SimpleNamespace(status=200, read=lambda: body)

    made = api(tmp_path, monkeypatch, b"")
    monkeypatch.setattr(made._client, "call_api", answer)
    assert made.serves("Widget.example.com")
    assert [one["metadata"]["name"] for one in made.list("Widget.example.com", "shop")] == ["a"]
    assert asked == ["/api", "/apis", "/apis/example.com/v1/namespaces/shop/widgets"]
    assert not made.serves("Widget.other.com")
    assert made.list("Widget.other.com", "shop") == []
