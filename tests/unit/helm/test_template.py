"""What a chart renders to while the cluster is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyhelm3.errors
import pytest

from deployer.core.errors import DeployError, ExitCode, Problem
from deployer.core.ports import Rendering, UpgradeRequest
from deployer.helm.client import Helm, Program


@pytest.mark.parametrize(
    ("code", "said", "again"),
    [
        ("OBJECT_FOREIGN", "exists and cannot be imported", ["--dry-run=server", "--take-ownership"]),
        ("HELM_FAILED", "no matches for kind", []),
    ],
)
def test_what_helm_judges_too_early_is_rendered_all_the_same(
    monkeypatch: pytest.MonkeyPatch, code: str, said: str, again: list[str]
) -> None:
    helm = Helm(Program(Path("helm"), "v4.3.2"), Path("config"), "context", "")
    asked: list[list[str]] = []

    def run(words: Any, *of: Any) -> bytes:
        asked.append([word for word in words if word.startswith(("--dry-run", "--take"))])
        if len(asked) == 1:
            raise DeployError(Problem(code, "refused", said), ExitCode.REFUSED)
        return b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"

    monkeypatch.setattr(helm._command, "run", lambda words, text: [str(word) for word in words])
    monkeypatch.setattr(helm, "_run", run)
    request = UpgradeRequest("web", "default", Path("chart"), {}, {}, "", 60.0)
    (found,) = helm.template(request, Rendering(asks=True))
    assert found["kind"] == "ConfigMap"
    assert asked == [["--dry-run=server"], again]


@pytest.mark.parametrize(
    ("said", "title"),
    [
        (
            """Error: shop/templates/secrets.yaml:4:56
  executing "shop/templates/secrets.yaml" at <.Release.Time.Seconds>:
    nil pointer evaluating interface {}.Seconds""",
            "the chart of release `web` does not render",
        ),
        ("Error: chart requires kubeVersion: <1.20", "the chart of release `web` does not render"),
        (
            """Error: values don't meet the specifications of the schema(s) in the following chart(s):
shop:
failing loading "https://schemas.example/pod.json": dial tcp: i/o timeout""",
            "the schema of the chart of release `web` refers to one that cannot be loaded",
        ),
    ],
)
def test_why_a_chart_does_not_render(monkeypatch: pytest.MonkeyPatch, said: str, title: str) -> None:
    helm = Helm(Program(Path("helm"), "v4.3.2"), Path("config"), "context", "")

    async def refused(*_: object) -> bytes:
        raise pyhelm3.errors.Error(1, b"", said.encode())

    monkeypatch.setattr(helm._command, "run", refused)
    with pytest.raises(DeployError) as caught:
        helm.template(UpgradeRequest("web", "default", Path("chart"), {}, {}, "", 60.0))
    (problem,) = caught.value.problems
    assert (problem.code, problem.title, caught.value.exit_code) == ("CHART_RENDER", title, ExitCode.INPUT)
    assert problem.detail == said


_WEBHOOK = 'Internal error occurred: failed calling webhook "v.example.com": dial tcp 10.96.3.4:443: connect: '
_POLICY = 'services "web" is forbidden: ValidatingAdmissionPolicy "p" with binding "b" denied request: no'


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (f"{_WEBHOOK}connection refused", "OBJECT_DENIED"),
        (_POLICY, "OBJECT_DENIED"),
        ('configmaps "a" is forbidden: exceeded quota: few, requested: configmaps=1', "OBJECT_DENIED"),
        ('Get "https://192.168.49.2:8443/api": dial tcp: connect: connection refused', "API_UNREACHABLE"),
    ],
)
def test_who_refuses_is_not_taken_for_the_api_server(monkeypatch: pytest.MonkeyPatch, said: str, code: str) -> None:
    helm = Helm(Program(Path("helm"), "v4.3.2"), Path("config"), "context", "")

    async def refused(*_: object) -> bytes:
        raise pyhelm3.errors.Error(1, b"", f"Error: UPGRADE FAILED: {said}".encode())

    monkeypatch.setattr(helm._command, "run", refused)
    with pytest.raises(DeployError) as caught:
        helm.upgrade(UpgradeRequest("web", "default", Path("chart"), {}, {}, "", 60.0))
    assert [one.code for one in caught.value.problems] == [code]
