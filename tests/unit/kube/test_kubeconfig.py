from __future__ import annotations

from pathlib import Path

import pytest

from deployer.core.errors import DeployError, ExitCode
from deployer.kube.client import KubeApi
from deployer.kube.kubeconfig import owner, read, server_of


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("contexts: [null]", 1), ("contexts: {}", 1), ("clusters: [[]]", 1), ("contexts: [{name: a, context: []}]", 1),
        ("clusters: [{name: a, cluster: {extensions: [1]}}]", 1), ("users: 3", 1), ("a: 1\n\tb: 2", 2),
        ("contexts: [[tiny, {}]]", 1), ("users: [[a, {}]]", 1),
        ("clusters: [{name: a, cluster: {extensions: [[{}]]}}]", 1), ("contexts: [{context: {}}]", 1),
        ("clusters: [{name: a, cluster: {server: [1]}}]", 1),
    ],
)  # fmt: skip
def test_what_is_no_kubeconfig_is_explained(tmp_path: Path, text: str, line: int) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(DeployError) as caught:
        read(path)
    problem = caught.value.problems[0]
    assert (problem.code, problem.where, caught.value.exit_code) == (
        "KUBECONFIG_UNREADABLE", f"{path}:{line}", ExitCode.MACHINE
    )  # fmt: skip


@pytest.mark.parametrize("text", ["", "[]", "text", "contexts:\nclusters: ~\n", "contexts: []"])
def test_a_kubeconfig_may_be_empty(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    found = read(path)
    assert (owner(found, "tiny"), server_of(found, "tiny")) == ("absent", "")


@pytest.mark.parametrize(
    "user",
    ["{}", "{client-certificate-data: '%'}", "{exec: {}}", "{exec: 3}", "{auth-provider: x}", "{token: 3}", "[]",
     "{client-certificate: /nowhere, client-key: /nowhere}", "{client-certificate: {a: 1}, client-key: [1]}"],
)  # fmt: skip
def test_a_user_that_nobody_can_be_is_explained_or_refused_by_the_server(tmp_path: Path, user: str) -> None:
    path = tmp_path / "config"
    path.write_text(
        "contexts: [{name: tiny, context: {cluster: tiny, user: tiny}}]\n"
        "clusters: [{name: tiny, cluster: {server: 'https://127.0.0.1:1'}}]\n"
        f"users: [{{name: tiny, user: {user}}}]\n"
    )
    try:
        KubeApi(path, "tiny")
    except DeployError as error:
        assert error.exit_code is ExitCode.MACHINE


@pytest.mark.parametrize("text", ["---\n---\n{}", "{}\n\u2028---", "contexts: []\n---\ncontexts: []"])
def test_what_only_the_kubernetes_package_cannot_read_is_explained(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DeployError) as caught:
        KubeApi(path, "tiny")
    assert caught.value.problems[0].code == "KUBECONFIG_UNREADABLE"
