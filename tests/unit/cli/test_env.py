"""`env`: what a shell evaluates is what was meant, the user's files stay, and the way back is complete."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from deployer import composition
from deployer.commands import down
from deployer.core.ports import DockerEndpoint
from deployer.core.shell import (
    Shell,
    ShellTarget,
    cleared_variables,
    cluster_variables,
    lines,
    no_proxy,
    shell_of,
    unexported,
)
from deployer.core.steps import Outcome, Steps
from deployer.kube.kubeconfig import only_context
from deployer.toolchain import Toolchain
from tests.fakes import FakeHelm
from tests.unit.cli.conftest import Run, Staged

NASTY = """a b'c"d$HOME`id`\\n!x;&|*?~#%{}()<>\N{LATIN SMALL LETTER E WITH ACUTE}
second line"""
BEFORE = {
    "PATH": "/usr/bin:/bin",
    "KUBECONFIG": "/home/me/my config",
    "DOCKER_HOST": "unix:///run/user/1/docker.sock",
    "NO_PROXY": "corp.example",
    "HOME": "/home/me",
}


def applied(env: dict[str, str], variables: dict[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in {**env, **variables}.items() if value is not None}


def of_cluster(env: dict[str, str], profile: str = "tiny", node_ip: str = "192.0.2.10") -> dict[str, str | None]:
    daemon = DockerEndpoint("tcp://127.0.0.1:32771", Path("/certs"))
    return cluster_variables(
        env, ShellTarget(Path("/tools"), Path("/state/kubeconfig"), profile, profile, daemon, node_ip)
    )


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_posix_shell_takes_every_value_as_it_is(shell: Shell) -> None:
    # What zsh reads is the same single-quoted text; bash stands for both.
    script = "\n".join(lines({"A": NASTY, "B": None, "C": ""}, shell))
    show = """; printf '%s\\0%s\\0%s' "$A" "${B-none}" "${C-none}" """
    done = subprocess.run(["bash", "-c", script + show], env={"B": "x"}, capture_output=True, check=True)
    assert done.stdout.decode().split("\0") == [NASTY, "none", ""]


def test_fish_and_powershell_quote_in_their_own_way() -> None:
    values = {"A": "it's \\ $x", "PATH": "/my tools:/bin", "B": None}
    assert lines(values, "fish") == [r"set -gx A 'it\'s \\ $x';", "set -gx PATH '/my tools' '/bin';", "set -e B;"]
    assert lines({"A": "it's $x", "B": None}, "powershell") == [
        "$env:A = 'it''s $x'",
        "Remove-Item Env:B -ErrorAction SilentlyContinue",
    ]
    assert lines({"A": "x\N{RIGHT SINGLE QUOTATION MARK}; Remove-Item C:"}, "powershell") == [
        "$env:A = 'x\N{RIGHT SINGLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}; Remove-Item C:'"
    ]


def test_the_shell_is_guessed_from_its_variable() -> None:
    assert [shell_of({"SHELL": path}, "posix") for path in ("/bin/zsh", "/usr/bin/fish", "/bin/sh", "")] == [
        "zsh", "fish", "bash", "bash"
    ]  # fmt: skip
    assert shell_of({}, "nt") == "powershell"


def test_the_way_back_is_complete() -> None:
    inside = applied(BEFORE, of_cluster(BEFORE))
    assert inside["PATH"] == "/tools:/usr/bin:/bin" and inside["KUBECONFIG"] == "/state/kubeconfig"
    assert inside["DOCKER_HOST"] == "tcp://127.0.0.1:32771" and inside["MINIKUBE_PROFILE"] == "tiny"
    assert unexported(inside) == BEFORE
    assert applied(inside, cleared_variables(inside)) == BEFORE


def test_twice_is_once_and_another_cluster_takes_its_place() -> None:
    once = applied(BEFORE, of_cluster(BEFORE))
    assert applied(once, of_cluster(once)) == once
    other = applied(once, of_cluster(once, "other", "192.0.2.99"))
    assert other["MINIKUBE_PROFILE"] == "other" and "192.0.2.10" not in other["NO_PROXY"]
    assert unexported(other) == BEFORE


def test_a_shell_that_took_nothing_has_nothing_to_give_back() -> None:
    assert cleared_variables(BEFORE) == {}
    assert unexported(BEFORE) == BEFORE


def test_minikubes_own_docker_env_is_undone_too() -> None:
    env = {"DOCKER_HOST": "tcp://127.0.0.1:1", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/c",
           "MINIKUBE_ACTIVE_DOCKERD": "tiny", "MINIKUBE_EXISTING_DOCKER_HOST": "unix:///mine.sock"}  # fmt: skip
    assert unexported(env) == {"DOCKER_HOST": "unix:///mine.sock"}


def test_an_existing_context_gets_no_minikube_and_no_docker() -> None:
    found = cluster_variables(BEFORE, ShellTarget(Path("/tools"), Path("/k"), "work"))
    assert not {name for name in found if name.startswith(("DOCKER", "MINIKUBE"))}
    assert found["HELM_KUBECONTEXT"] == "work"


def test_the_clusters_addresses_join_the_exceptions_from_the_proxy() -> None:
    assert no_proxy({"no_proxy": "corp.example, localhost"}, "192.0.2.10").split(",")[:3] == [
        "corp.example", "localhost", "192.0.2.10"
    ]  # fmt: skip


def test_a_kubeconfig_of_one_context_keeps_its_files_reachable() -> None:
    document = {
        "contexts": [{"name": "a", "context": {"cluster": "c", "user": "u"}}, {"name": "b", "context": {}}],
        "clusters": [{"name": "c", "cluster": {"server": "s", "certificate-authority": "ca.crt"}}],
        "users": [{"name": "u", "user": {"client-key": "/abs/key", "client-certificate": "sub/crt"}}],
    }
    found = only_context(document, "a", Path("/home/me/.kube"))
    assert found is not None and found["current-context"] == "a" and [one["name"] for one in found["contexts"]] == ["a"]
    assert found["clusters"][0]["cluster"]["certificate-authority"] == "/home/me/.kube/ca.crt"
    assert found["users"][0]["user"] == {"client-key": "/abs/key", "client-certificate": "/home/me/.kube/sub/crt"}
    assert only_context(document, "nowhere", Path()) is None


def test_env_writes_a_private_kubeconfig_and_leaves_the_users_alone(staged: Staged, run: Run) -> None:
    before = staged.kubeconfig.read_bytes()
    ran = run("env", "--shell", "bash")
    assert ran.code == 0 and not ran.err
    shown = subprocess.run(
        ["bash", "-c", 'eval "$0"; printf "%s\n" "$KUBECONFIG" "$DOCKER_HOST" "$DOCKER_TLS_VERIFY" "$PATH"', ran.out],
        env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    kubeconfig, docker, verify, path = shown.stdout.splitlines()
    assert (docker, verify) == ("tcp://127.0.0.1:32771", "1")
    assert path.split(":")[0] == str(staged.toolchain.bin)
    private = Path(kubeconfig)
    document = json.loads(private.read_text())
    assert document["current-context"] == "tiny" and "work" not in private.read_text()
    assert private.stat().st_mode & 0o777 == 0o600
    assert staged.kubeconfig.read_bytes() == before


def test_env_as_json(staged: Staged, run: Run) -> None:
    data = run("env", "-o", "json", "--shell", "fish").document["data"]
    assert data["shell"] == "fish" and data["variables"]["MINIKUBE_PROFILE"] == "tiny"


def test_unset_needs_neither_spec_nor_cluster(
    tmp_path: Path, home: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TODO_DEPLOY_SHELL_BIN", "/tools")
    monkeypatch.setenv("KUBECONFIG", "/state/kubeconfig")
    ran = run("env", "--unset", "--shell", "bash")
    assert ran.code == 0
    assert "unset KUBECONFIG" in ran.out.splitlines()


def test_another_contexts_shell_does_not_turn_the_first_ones_kubectl(staged: Staged, run: Run) -> None:
    """Both belong to the same spec, whose `cluster.name` is one."""
    first = Path(run("env", "-o", "json").document["data"]["variables"]["KUBECONFIG"])
    before = first.read_text()
    second = Path(run("--context", "work", "env", "-o", "json").document["data"]["variables"]["KUBECONFIG"])
    assert first.read_text() == before and json.loads(before)["current-context"] == "tiny"
    assert json.loads(second.read_text())["current-context"] == "work"


def test_down_of_another_context_ends_no_forward_of_this_deployment(
    staged: Staged, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tools(*_: object) -> Steps[Outcome[Toolchain]]:
        yield from ()
        return Outcome(staged.toolchain, False)

    monkeypatch.setattr(down, "ensure_tools", tools)
    monkeypatch.setattr(composition, "open_helm", lambda *_: FakeHelm(staged.kube))
    folder = Path(run("env", "-o", "json").document["data"]["variables"]["KUBECONFIG"]).parent
    (folder / "forward.json").write_text("{}")
    assert run("--context", "work", "down").code == 0
    assert (folder / "forward.json").exists()
