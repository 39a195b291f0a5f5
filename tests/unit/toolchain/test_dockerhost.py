"""Docker on the host: found, started, refused; and the runtime for machines that lack a capability."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from deployer.core.errors import DeployError
from deployer.core.events import Event, Item, ItemState
from deployer.toolchain import dockerhost
from deployer.toolchain.source import runc
from tests.unit.toolchain.support import finish, nothing, program

ROOT_STATUS = "Name:\tsh\nCapEff:\t{0}\nCapBnd:\t{0}\n"


@pytest.fixture(autouse=True)
def ordinary_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runc, "is_needed", lambda: False)
    monkeypatch.setattr(dockerhost, "_has_systemd", lambda: False)
    monkeypatch.setattr(dockerhost, "_PID_FILES", ())
    monkeypatch.setattr(dockerhost, "_SBIN", ())


def env(folder: Path, **more: str) -> dict[str, str]:
    return {"PATH": f"{folder}:/usr/bin:/bin" if folder.name != "alone" else str(folder), **more}


def code(error: pytest.ExceptionInfo[DeployError]) -> str:
    return error.value.problems[0].code


def test_docker_that_answers_is_left_alone(tmp_path: Path) -> None:
    docker = program(tmp_path / "bin", "docker", "echo 28.0")
    events: list[Event] = []
    assert finish(dockerhost.ensure_docker(tmp_path, tmp_path, env(tmp_path / "bin")), events) == docker
    assert [event.state for event in events if isinstance(event, Item)] == [ItemState.UNCHANGED]


def test_no_permission_has_its_own_code_and_the_command_that_mends_it(tmp_path: Path) -> None:
    program(tmp_path / "bin", "docker", "echo 'permission denied while trying to connect to the socket' >&2; exit 1")
    with pytest.raises(DeployError) as caught:
        finish(dockerhost.ensure_docker(tmp_path, tmp_path, env(tmp_path / "bin")))
    assert code(caught) == "DOCKER_PERMISSION"
    assert "usermod -aG docker" in caught.value.problems[0].hints[0]


def test_a_docker_host_that_does_not_answer_is_never_started_here(tmp_path: Path) -> None:
    program(tmp_path / "bin", "docker", "echo 'Cannot connect' >&2; exit 1")
    with pytest.raises(DeployError) as caught:
        finish(dockerhost.ensure_docker(tmp_path, tmp_path, env(tmp_path / "bin", DOCKER_HOST="tcp://nowhere:1")))
    assert code(caught) == "DOCKER_UNREACHABLE"


def test_no_docker_where_we_may_not_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dockerhost, "can_install", lambda: False)
    (tmp_path / "alone").mkdir()
    with pytest.raises(DeployError) as caught:
        finish(dockerhost.ensure_docker(tmp_path, tmp_path, env(tmp_path / "alone")))
    assert code(caught) == "DOCKER_MISSING"
    assert caught.value.problems[0].hints


def test_docker_that_does_not_run_and_is_not_ours_to_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dockerhost, "is_root", lambda: False)
    program(tmp_path / "bin", "docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    with pytest.raises(DeployError) as caught:
        finish(dockerhost.ensure_docker(tmp_path, tmp_path, env(tmp_path / "bin")))
    assert code(caught) == "DOCKER_STOPPED"


def test_docker_is_installed_and_started_in_the_background(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()

    def install(packages: object, *_: object) -> object:
        assert "docker.io" in packages  # type: ignore[operator]
        program(folder, "docker", f"test -e {tmp_path}/up || {{ echo 'Cannot connect' >&2; exit 1; }}")
        program(folder, "dockerd", f"echo listening; touch {tmp_path}/up; exec sleep 30")
        return nothing()

    monkeypatch.setattr(dockerhost, "is_root", lambda: True)
    monkeypatch.setattr(dockerhost, "can_install", lambda: True)
    monkeypatch.setattr(dockerhost, "ensure_packages", install)
    state = tmp_path / "state"
    # Nothing but the folder and the shell's tools: this machine's own Docker is out of sight.
    for tool in ("sh", "touch", "sleep", "test"):
        (folder / tool).symlink_to(f"/bin/{tool}" if Path(f"/bin/{tool}").exists() else f"/usr/bin/{tool}")
    assert finish(dockerhost.ensure_docker(tmp_path, state, {"PATH": str(folder)})) == folder / "docker"
    ours = json.loads((state / "dockerd.json").read_text())
    try:
        assert os.getsid(ours["pid"]) == ours["pid"]
        assert dockerhost.start_time(ours["pid"]) == ours["started"] != ""
        assert "listening" in (state / "dockerd.log").read_text()
    finally:
        os.kill(ours["pid"], 9)
        os.waitpid(ours["pid"], 0)


def test_docker_that_cannot_start_shows_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dockerhost, "is_root", lambda: True)
    program(tmp_path / "bin", "docker", "echo 'Cannot connect' >&2; exit 1")
    program(tmp_path / "bin", "dockerd", "echo 'failed to start daemon: no cgroups'; exit 1")
    with pytest.raises(DeployError) as caught:
        finish(dockerhost.ensure_docker(tmp_path, tmp_path / "state", env(tmp_path / "bin")))
    assert code(caught) == "DOCKER_START"
    assert "no cgroups" in caught.value.problems[0].detail


def test_a_pid_file_of_a_dead_daemon_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dead, taken, alive = tmp_path / "dead.pid", tmp_path / "taken.pid", tmp_path / "alive.pid"
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    dead.write_text(str(gone.pid))
    taken.write_text(str(os.getpid()))  # the number belongs to another program by now
    alive.write_text(str(os.getpid()))
    own = Path("/proc/self/comm").read_text().strip()
    monkeypatch.setattr(dockerhost, "_PID_FILES", ((dead, "dockerd"), (taken, "dockerd"), (alive, own)))
    dockerhost._forget_dead()
    assert (dead.exists(), taken.exists(), alive.exists()) == (False, False, True)


@pytest.mark.parametrize(
    ("mask", "lacks"), [("000001ffffffffff", False), ("000001fffeffffff", True), ("00000000a80425fb", True)]
)
def test_the_missing_capability_is_seen(mask: str, lacks: bool) -> None:
    assert runc.lacks_capability(ROOT_STATUS.format(mask)) is lacks


def test_dockers_configuration_is_added_to_and_never_replaced() -> None:
    before = {"data-root": "/data", "runtimes": {"nvidia": {"path": "x"}}, "default-runtime": "nvidia"}
    after = runc.with_runtime(before)
    assert after["data-root"] == "/data"
    assert after["runtimes"] == {"nvidia": {"path": "x"}, "runc-fit": {"path": str(runc.PROGRAM)}}
    assert after["default-runtime"] == "runc-fit"
    assert runc.with_runtime(after) == after


def needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(runc, "is_needed", lambda: True)
    monkeypatch.setattr(runc, "is_root", lambda: True)
    monkeypatch.setattr(runc, "ensure_go", nothing)
    monkeypatch.setattr(runc, "ensure_built", nothing)
    monkeypatch.setattr(runc, "built", lambda *_: tmp_path / "built")
    program(tmp_path / "built", "runc-fit", "exit 0")
    monkeypatch.setattr(runc, "PROGRAM", tmp_path / "libexec/runc-fit")
    configuration = tmp_path / "etc/daemon.json"
    monkeypatch.setattr(runc, "CONFIGURATION", configuration)
    return configuration


def test_the_runtime_is_installed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configuration = needed(tmp_path, monkeypatch)
    assert finish(runc.ensure_runtime(tmp_path, {})) is True
    assert json.loads(configuration.read_text())["default-runtime"] == "runc-fit"
    assert os.access(tmp_path / "libexec/runc-fit", os.X_OK)
    assert finish(runc.ensure_runtime(tmp_path, {})) is False


def test_a_runtime_that_is_built_already_needs_no_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needed(tmp_path, monkeypatch)
    monkeypatch.delattr(runc, "ensure_go")
    assert finish(runc.ensure_runtime(tmp_path, {})) is True


def test_a_broken_configuration_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configuration = needed(tmp_path, monkeypatch)
    configuration.parent.mkdir()
    configuration.write_text("{ 'data-root'")
    with pytest.raises(DeployError) as caught:
        finish(runc.ensure_runtime(tmp_path, {}))
    assert code(caught) == "DOCKER_CONFIGURATION"
    assert configuration.read_text() == "{ 'data-root'"


def test_another_ones_daemon_is_not_restarted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needed(tmp_path, monkeypatch)
    monkeypatch.setattr(dockerhost, "is_root", lambda: True)
    program(tmp_path / "bin", "docker", "echo runc")
    program(tmp_path / "bin", "dockerd", "exit 1")
    with pytest.raises(DeployError) as caught:
        finish(dockerhost.ensure_docker(tmp_path, tmp_path / "state", env(tmp_path / "bin")))
    assert code(caught) == "DOCKER_RESTART"
