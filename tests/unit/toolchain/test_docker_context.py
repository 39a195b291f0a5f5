"""Which Docker daemon is this machine's: Docker's own rule, from files as `docker context create` writes them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from deployer.composition import this_machine
from deployer.core.errors import DeployError
from deployer.core.ports import DockerEndpoint
from deployer.toolchain.dockerhost import context_name, docker_mending

SOCKET = "unix:///run/user/1000/docker.sock"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Docker's configuration, with the contexts `rootless`, which is in use, and `remote`, which wants TLS."""
    for name, host in (("rootless", SOCKET), ("remote", "tcp://10.0.0.7:2376"), ("cloud", "")):
        key = hashlib.sha256(name.encode()).hexdigest()
        meta = tmp_path / "contexts" / "meta" / key / "meta.json"
        meta.parent.mkdir(parents=True)
        endpoints = {"docker": {"Host": host, "SkipTLSVerify": False}} if host else {}
        meta.write_text(json.dumps({"Name": name, "Metadata": {}, "Endpoints": endpoints}))
        if name == "remote":
            certificate = tmp_path / "contexts" / "tls" / key / "docker" / "cert.pem"
            certificate.parent.mkdir(parents=True)
            certificate.write_text("")
    (tmp_path / "config.json").write_text(json.dumps({"auths": {}, "currentContext": "rootless"}))
    return tmp_path


def found(folder: Path, **env: str) -> DockerEndpoint:
    return replace(this_machine(), env={"DOCKER_CONFIG": str(folder), **env}).host_docker


def test_the_context_in_use_says_where_docker_is(folder: Path) -> None:
    assert found(folder) == DockerEndpoint(SOCKET)
    remote = found(folder, DOCKER_CONTEXT="remote")
    assert remote.host == "tcp://10.0.0.7:2376"
    assert remote.cert_path is not None and remote.cert_path.parent.parent.parent == folder / "contexts"


def test_docker_host_goes_before_every_context(folder: Path) -> None:
    assert found(folder, DOCKER_HOST="tcp://here:2375", DOCKER_CONTEXT="remote") == DockerEndpoint("tcp://here:2375")
    assert context_name({"DOCKER_CONFIG": str(folder), "DOCKER_HOST": "tcp://here:2375"}) == "default"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"currentContext": ""}', '{"currentContext": "default"}'])
def test_without_a_context_it_is_the_usual_socket(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    assert found(folder).host == "unix:///var/run/docker.sock"
    (folder / "config.json").unlink()
    assert found(folder).host == "unix:///var/run/docker.sock"


@pytest.mark.parametrize("name", ["gone", "cloud"])
def test_a_context_without_a_daemon_is_named_with_the_way_back(folder: Path, name: str) -> None:
    with pytest.raises(DeployError) as caught:
        found(folder, DOCKER_CONTEXT=name)
    (problem,) = caught.value.problems
    assert f"`{name}`" in problem.title
    assert problem.code == "DOCKER_UNREACHABLE"


def test_the_way_back_from_a_context_that_does_not_answer_is_dockers_own(folder: Path) -> None:
    assert docker_mending({"DOCKER_CONFIG": str(folder)}) == "docker context use default"
    assert docker_mending({"DOCKER_CONFIG": str(folder), "DOCKER_CONTEXT": "remote"}).startswith("unset")
