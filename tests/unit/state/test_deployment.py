"""A deployment's folder: two clones share it, two clusters of one name do not, and an old one is found once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deployer.config.spec import Cluster
from deployer.state.deployment import deployment_folder

PROD = Cluster(provider="context", context="prod")
MINIKUBE = Cluster()


def write_kubeconfig(path: Path, *contexts: str, server: str = "https://one.example", ca: str = "Y2E=") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    inside = {"server": server, "certificate-authority-data": ca}
    path.write_text(json.dumps({
        "clusters": [{"name": name, "cluster": inside} for name in contexts],
        "contexts": [{"name": name, "context": {"cluster": name, "user": "me"}} for name in contexts],
    }))  # fmt: skip
    return path


def folder(tmp_path: Path, wanted: Cluster = PROD, application: str = "shop", **more: str) -> Path:
    config = write_kubeconfig(tmp_path / "config", "prod", "staging", "arn:aws:eks:x/y", **more)
    return deployment_folder(tmp_path, wanted, application, config)


def test_one_deployment_has_one_folder(tmp_path: Path) -> None:
    assert folder(tmp_path) == folder(tmp_path)
    assert folder(tmp_path, MINIKUBE).name == "todo-deploy.shop", "known before the profile has a server"


def test_another_context_server_certificate_or_application_is_another_deployment(tmp_path: Path) -> None:
    folders = [
        folder(tmp_path),
        folder(tmp_path, MINIKUBE),
        folder(tmp_path, Cluster(provider="context", context="staging")),
        folder(tmp_path, server="https://two.example"),
        folder(tmp_path, ca="b3RoZXI="),
        folder(tmp_path, application="garden"),
    ]
    assert len(set(folders)) == len(folders)
    assert {one.parent for one in folders} == {tmp_path / "deployments"}


def test_a_context_whose_name_is_no_file_name_has_a_folder_too(tmp_path: Path) -> None:
    found = folder(tmp_path, Cluster(provider="context", context="arn:aws:eks:x/y"))
    assert found.parent == tmp_path / "deployments" and found.name.startswith("arn-aws-eks-x-y-")


def old_layout(tmp_path: Path) -> Path:
    """What an older version left: one folder by `cluster.name`, whatever the context was."""
    old = tmp_path / "deployments" / "todo-deploy.shop"
    old.mkdir(parents=True)
    (old / "images.json").write_text("{}")
    return old


@pytest.mark.parametrize("known_by", ["kubeconfig", "forward"])
def test_an_old_folder_of_this_cluster_is_moved_once(tmp_path: Path, known_by: str) -> None:
    old = old_layout(tmp_path)
    if known_by == "kubeconfig":
        write_kubeconfig(old / "kubeconfig", "prod")
    else:
        (old / "forward.json").write_text(json.dumps({"provider": "context", "cluster": "prod"}))
    found = folder(tmp_path)
    assert (found / "images.json").exists() and not old.exists()
    later = old_layout(tmp_path)
    write_kubeconfig(later / "kubeconfig", "prod")
    assert folder(tmp_path) == found and later.exists()


@pytest.mark.parametrize("why", ["nothing", "context", "server", "damaged"])
def test_an_old_folder_of_another_cluster_stays_where_it_is(tmp_path: Path, why: str) -> None:
    old = old_layout(tmp_path)
    if why == "context":
        write_kubeconfig(old / "kubeconfig", "staging")
    if why == "server":
        write_kubeconfig(old / "kubeconfig", "prod", server="https://elsewhere.example")
    if why == "damaged":
        (old / "kubeconfig").write_text("{")
        (old / "forward.json").write_text("[")
    assert not folder(tmp_path).exists()
    assert (old / "images.json").exists()
