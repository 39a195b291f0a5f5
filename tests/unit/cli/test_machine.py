"""A machine that is not as it should be: a clear error with what to do next, the right exit code, never a trace."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deployer.core import errors
from deployer.core.errors import DeployError, ExitCode
from deployer.core.events import StageFailed
from deployer.core.steps import Outcome, Steps, SystemClock, stage
from tests import ROOT
from tests.fakes.play import failed

CHECKOUT = ROOT
Ran = tuple[int, str, str]

SPEC = """\
apiVersion: todo-deploy/v1
application: shop
cluster: {name: td-no-such-cluster}
env: {example: null}
images:
  api: {repository: shop/api, context: "the api"}
secrets:
  app: {keys: {TOKEN: {}}}
releases:
  web: {chart: chart, images: {api: {image: "{ref}"}}}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "the api").mkdir(parents=True)
    (root / "the api" / "Dockerfile").write_text("FROM scratch\n")
    (root / "chart" / "templates").mkdir(parents=True)
    (root / "chart" / "Chart.yaml").write_text("apiVersion: v2\nname: web\nversion: 0.1.0\n")
    (root / "todo-deploy.yaml").write_text(SPEC)
    (root / ".env").write_text("TOKEN=a\n")
    (root / ".env").chmod(0o600)
    return root


@pytest.fixture
def run(tmp_path: Path, project: Path) -> Callable[..., Ran]:
    """`todo-deploy` as another process: nothing answers as Docker, and there is no program on PATH."""

    def ran(*args: str, cwd: Path | None = None, stdout: str = "", **env: str | None) -> Ran:
        settings: dict[str, str | None] = {
            "HOME": str(tmp_path / "home"),
            "PATH": str(tmp_path / "no-programs"),
            "LANG": "C.UTF-8",
            "DOCKER_HOST": f"unix://{tmp_path}/no.sock",
            "PYTHONPATH": str(CHECKOUT),
            **env,
        }
        given = {name: value for name, value in settings.items() if value is not None}
        with Path(stdout or os.devnull).open("w") as stream:
            done = subprocess.run(
                [sys.executable, "-m", "deployer", *args], cwd=cwd or project, env=given, text=True, timeout=60,
                stdin=subprocess.DEVNULL, stdout=stream if stdout else subprocess.PIPE, stderr=subprocess.PIPE,
                errors="replace",
            )  # fmt: skip
        assert "Traceback" not in done.stderr
        assert "error[BUG]" not in done.stderr
        return done.returncode, done.stdout or "", done.stderr

    return ran


def test_without_docker_up_says_what_mends_it_and_leaves_nothing(run: Callable[..., Ran], project: Path) -> None:
    before = sorted(project.rglob("*"))
    code, _, shown = run("up")
    assert code == ExitCode.MACHINE
    assert "error[DOCKER_" in shown and "help: " in shown
    assert sorted(project.rglob("*")) == before


def test_doctor_names_the_address_that_the_user_set(run: Callable[..., Ran]) -> None:
    code, shown, _ = run("doctor")
    assert code == ExitCode.MACHINE
    assert "unset DOCKER_HOST" in shown


def test_ca_certificates_that_cannot_be_read_are_reported_by_doctor_and_before_a_run(run: Callable[..., Ran]) -> None:
    code, shown, _ = run("doctor", TODO_DEPLOY_CA="absent.pem")
    assert "✗ fail  certificates" in shown
    code, _, error = run("up", TODO_DEPLOY_CA="absent.pem")
    assert code == ExitCode.INPUT
    assert "error[CA_UNREADABLE]" in error


@pytest.mark.parametrize("name", ["XDG_CACHE_HOME", "XDG_STATE_HOME"])
def test_a_folder_of_ours_that_cannot_be_made_is_named(run: Callable[..., Ran], tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    for command in ("up", "plan", "doctor"):
        code, shown, error = run(command, **{name: str(tmp_path / "file" / "below")})
        if command == "plan" and name == "XDG_STATE_HOME":  # it remembers nothing
            assert code == ExitCode.OK, error
            continue
        assert code == ExitCode.MACHINE, error
        assert "help: " in error or "→" in shown


def test_a_folder_that_was_removed_under_the_shell_is_reported(run: Callable[..., Ran], tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    for command in ("plan", "plan -f x.yaml", "init"):
        gone.mkdir(exist_ok=True)
        words = f"cd '{gone}' && rmdir '{gone}' && exec '{sys.executable}' -m deployer {command}"
        done = subprocess.run(
            ["sh", "-c", words], env={"PYTHONPATH": str(CHECKOUT), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == ExitCode.INPUT, done.stderr
        assert "error[FOLDER_GONE]" in done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_are_those_of_nobody(project: Path, tmp_path: Path, closed: str) -> None:
    """As cron and daemons close them."""
    state = tmp_path / "state"
    env = {"PYTHONPATH": str(CHECKOUT), "HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin",
           "XDG_STATE_HOME": str(state), "DOCKER_HOST": f"unix://{tmp_path}/no.sock"}  # fmt: skip
    for command in ("doctor", "plan", "init --stdout", "down", "status"):
        words = f"exec '{sys.executable}' -m deployer {command} {closed}"
        done = subprocess.run(["sh", "-c", words], env=env, cwd=project, capture_output=True, timeout=60)
        assert done.returncode != ExitCode.BUG, done.stderr
    assert not (state / "todo-deploy" / "traces").exists()


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("validate -v", ExitCode.OK),
        ("plan", ExitCode.OK),
        ("doctor", ExitCode.OK),
        ("schema", ExitCode.OK),
        ("up", ExitCode.MACHINE),
        ("up -o json", ExitCode.MACHINE),
        ("-f nowhere.yaml plan -o json", ExitCode.INPUT),
        ("images", ExitCode.INPUT),
    ],
)
def test_a_reader_that_went_away_changes_no_exit_code(
    project: Path, tmp_path: Path, command: str, code: ExitCode
) -> None:
    """As `todo-deploy … 2>&1 | head -1`; what only prints has done so."""
    env = {"PYTHONPATH": str(CHECKOUT), "HOME": str(tmp_path), "PATH": "/nowhere", "DOCKER_HOST": "unix:///nowhere"}
    reads, writes = os.pipe()
    os.close(reads)
    words = [sys.executable, "-m", "deployer", *command.split()]
    done = subprocess.run(
        words, env=env, cwd=project, stdin=subprocess.DEVNULL, stdout=writes, stderr=writes, timeout=60
    )
    os.close(writes)
    assert done.returncode == code


def test_a_home_that_is_not_there_is_made_or_named(run: Callable[..., Ran], tmp_path: Path) -> None:
    assert run("plan", HOME=str(tmp_path / "new"))[0] in (ExitCode.OK, ExitCode.MACHINE)
    assert run("--help", HOME=None)[0] == ExitCode.OK
    assert run("plan", HOME=None, XDG_CACHE_HOME=str(tmp_path / "c"), XDG_STATE_HOME=str(tmp_path / "s"))[0] in (
        ExitCode.OK,
        ExitCode.MACHINE,
    )


def test_any_locale_width_and_place_will_do(run: Callable[..., Ran], project: Path, tmp_path: Path) -> None:
    place = tmp_path / ("Übung mit Leerzeichen und ' und \" " + "sehr lang " * 15) / "ein Projekt"
    place.parent.mkdir()
    shutil.copytree(project, place)
    for env in ({"LANG": "C", "LC_ALL": "C"}, {"COLUMNS": "40", "NO_COLOR": "1"}, {"LANG": "C", "PYTHONUTF8": "0"}):
        code, shown, error = run("plan", cwd=place, **env)
        assert code == ExitCode.OK, error
        assert "shop/api" in shown
        assert "\x1b[" not in shown + error
        code, shown, error = run("doctor", cwd=place, **env)
        assert code == ExitCode.MACHINE
        code, shown, _ = run("plan", "-o", "json", cwd=place, **env)
        assert json.loads(shown)["ok"] is True
    assert max(map(len, run("doctor", COLUMNS="40")[1].splitlines())) <= 40


def test_a_standard_output_on_a_full_disk_is_reported(run: Callable[..., Ran]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no device that is always full")
    for command in ("schema", "plan -o json", "plan"):
        code, _, shown = run(*command.split(), stdout="/dev/full")
        assert code == ExitCode.MACHINE
        assert "error[DISK_FULL]" in shown


def test_a_group_without_a_command_names_its_commands(run: Callable[..., Ran]) -> None:
    code, _, shown = run("images")
    assert code == ExitCode.INPUT
    assert "list, prune" in shown and "Usage" not in shown


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/var/x"), "DISK_FULL"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "DISK_FULL"),
        (FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"), "DISK_FULL"),
        (PermissionError(errno.EACCES, "Permission denied", "/var/x"), "UNWRITABLE"),
        (OSError(errno.EROFS, "Read-only file system", "/var/x"), "UNWRITABLE"),
        (OSError(errno.EEXIST, "File exists", "/home/x/.cache"), "UNWRITABLE"),
        (OSError(errno.ELOOP, "Too many levels of symbolic links", "/var/x"), "UNWRITABLE"),
    ],
)
def test_what_the_disk_refuses_is_a_failure_of_the_machine_with_the_next_command(error: OSError, code: str) -> None:
    explained = errors.disk_error(error)
    assert explained is not None
    assert (explained.problems[0].code, explained.exit_code) == (code, ExitCode.MACHINE)
    assert explained.problems[0].hints

    def body() -> Steps[Outcome[None]]:
        yield from ()
        raise error

    events, raised = failed(stage("images", body(), SystemClock()))
    assert isinstance(raised, DeployError)
    assert [type(event) for event in events[1:]] == [StageFailed]


def test_other_errors_of_the_system_are_not_explained_away() -> None:
    assert errors.disk_error(ConnectionRefusedError(errno.ECONNREFUSED, "refused")) is None
    assert errors.disk_error(PermissionError(errno.EACCES, "Permission denied")) is None


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with 64 KiB; only root can make one."""
    place = tmp_path / "small"
    place.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(place)], capture_output=True)
    if mount.returncode != 0:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("name", ["XDG_CACHE_HOME", "XDG_STATE_HOME", "TMPDIR"])
def test_a_disk_that_is_full_is_reported_and_nothing_is_left_half_written(
    run: Callable[..., Ran], small_disk: Path, project: Path, name: str
) -> None:
    for number in range(40):  # more of a chart than the disk holds
        (project / "chart" / "templates" / f"{number}.yaml").write_text(f"# {number}\n" + "x: y\n" * 400)
    for command in ("plan", "validate", "up"):
        code, _, error = run(command, **{name: str(small_disk)})
        assert code in (ExitCode.OK, ExitCode.MACHINE), error
        if name == "XDG_CACHE_HOME" and command != "up":  # which gives up before, for there is no Docker
            assert "error[DISK_FULL]" in error
    left = [path for path in small_disk.rglob("*") if path.is_file() and ".part" in path.name]
    assert left == []
    for path in small_disk.rglob("*.json"):
        json.loads(path.read_text())


def test_the_report_of_doctor_has_checks_and_runs_and_no_secret(run: Callable[..., Ran], project: Path) -> None:
    secret = f"s3cr3t-{os.urandom(6).hex()}"
    (project / ".env").write_text(f"TOKEN={secret}\n")
    run("validate")
    _, shown, error = run("doctor", "--report", "report.zip")
    assert "report.zip" in error and secret not in shown + error
    file = project / "report.zip"
    assert file.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(file) as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    assert {"versions.json", "checks.json", "spec.json"} <= texts.keys()
    assert json.loads(texts["spec.json"])["application"] == "shop"
    assert all(secret not in text for text in texts.values())


def test_a_report_that_cannot_be_written_is_explained(run: Callable[..., Ran]) -> None:
    code, _, error = run("doctor", "--report", "chart/Chart.yaml/report.zip")
    assert code == 2 and "REPORT_UNWRITABLE" in error
