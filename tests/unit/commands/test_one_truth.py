"""`status`, `history`, `explain`, Helm's label and the exit code say the same of a deployment in every state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from deployer.commands import restart as restart_command
from deployer.commands.connection import Opened
from deployer.commands.status import read_status
from deployer.composition import begin_run
from deployer.config.load import load_spec
from deployer.core.errors import DeployError, ExitCode, Problem
from deployer.core.redact import Redactor
from deployer.core.steps import Steps, drive
from deployer.evidence import Ended, recording_in, summarize
from deployer.evidence.explain.run import read_run
from deployer.helm.storage import revisions_of
from deployer.state.runs import RunFolder
from tests.fakes.cluster import RUNNING
from tests.fakes.scene import BACK_OFF, TOOLS, WAY
from tests.fakes.shop import SPEC, Shop
from tests.fakes.workloads import ref, show

HOOK = DeployError(Problem("HOOK_FAILED", "a hook failed"), ExitCode.NOTHING_SERVES)
TWO = SPEC + '  db: {chart: chart, values: {version: "1"}}\n'


@dataclass(frozen=True)
class Truth:
    """What each source says of the newest revision: its verdict, and how the last run ended."""

    status: str
    history: str
    explain: str
    helm: str
    exit_code: int


class Deployment:
    """The application `shop`, and each command as the command line runs it: recorded, with an exit code."""

    def __init__(self, path: Path, patch: pytest.MonkeyPatch) -> None:
        self.shop = Shop(path, patch)
        self.runs = path / "runs"
        self.exit_code = 0

    def does(self, steps: Steps[object]) -> None:
        folder = RunFolder(self.runs / f"{len(list(self.runs.glob('*'))):03}", Redactor())
        folder.path.mkdir(parents=True)
        code, problems, changed = ExitCode.OK, tuple[Problem, ...](), True
        with recording_in(folder):
            try:
                drive(steps, lambda _: None)
            except DeployError as error:
                code, problems = error.exit_code, error.problems
            except KeyboardInterrupt:
                code = ExitCode.INTERRUPTED
        outcome = {ExitCode.OK: "ok", ExitCode.INTERRUPTED: "interrupted"}.get(code, "failed")
        summarize(folder, Ended("up", "shop", outcome, int(code), changed, 1.0, problems, None, None))
        self.exit_code = int(code)

    def opened(self) -> Opened:
        loaded = load_spec(self.shop.root / "todo-deploy.yaml")
        return Opened(loaded, RUNNING, TOOLS, self.shop.kube, self.shop.record, WAY)

    def restart(self) -> Steps[object]:
        run = begin_run("run-restart", self.opened().loaded, {}, self.shop.here)
        return restart_command.restart(run, self.opened(), (ref("web"),))  # type: ignore[return-value]

    def truth(self) -> Truth:
        (shown,) = [one for one in read_status(self.opened(), self.shop.kube.clock).releases if one.release == "web"]
        last = read_run(sorted(self.runs.glob("*"))[-1])
        told = [one for one in last.releases if one["name"] == "web"]
        newest = revisions_of("web", "default", self.shop.kube)[-1]
        assert shown.revision == newest.revision == self.shop.record.history[-1].releases["web"]
        assert not newest.status.startswith("pending-")
        assert (newest.status == "failed") is (newest.verdict == "failed")
        assert last.exit_code == self.exit_code
        assert not told or told[-1]["revision"] == newest.revision
        said = told[-1]["verdict"] if told else newest.verdict
        return Truth(shown.verdict, self.shop.record.history[-1].verdict, said, newest.verdict, self.exit_code)


def _broken(deployment: Deployment, *versions: str) -> None:
    deployment.shop.helm.broken = set(versions)


def first_up(on: Deployment) -> None:
    on.does(on.shop.up("1"))


def first_install_fails(on: Deployment) -> None:
    _broken(on, "1")
    on.does(on.shop.up("1"))


def first_install_fails_and_is_kept(on: Deployment) -> None:
    _broken(on, "1")
    on.does(on.shop.up("1", on_failure="keep"))


def first_install_fails_with_rollback_asked_for(on: Deployment) -> None:
    _broken(on, "1")
    on.does(on.shop.up("1", on_failure="rollback"))


def failed_up(on: Deployment) -> None:
    first_up(on)
    _broken(on, "2")
    on.does(on.shop.up("2"))


def failed_up_is_kept(on: Deployment) -> None:
    first_up(on)
    _broken(on, "2")
    on.does(on.shop.up("2", on_failure="keep"))


def failed_up_is_kept_while_the_old_pod_serves(on: Deployment) -> None:
    first_up(on)
    kube = on.shop.kube
    kube.clock.sleep(5)
    old, owner = kube.get("Pod", "default", "web-pod"), kube.get("ReplicaSet", "default", "web-rs")
    assert old is not None and owner is not None
    owner["spec"]["template"]["spec"]["containers"][0]["image"] = "web:0"
    owner["metadata"] |= {"name": "web-old", "uid": "set-old"}
    old["metadata"] |= {"name": "web-old-pod", "uid": "pod-old"}
    old["metadata"]["ownerReferences"][0] |= {"name": "web-old", "uid": "set-old"}
    kube.put(owner)
    kube.put(old)
    _broken(on, "2")
    on.does(on.shop.up("2", on_failure="keep"))


def upgrade_hook_fails(on: Deployment) -> None:
    first_up(on)
    on.shop.helm.failures = [HOOK]
    on.does(on.shop.up("2"))


def rollback(on: Deployment) -> None:
    first_up(on)
    on.does(on.shop.up("2"))
    on.does(on.shop.back())


def rollback_to_what_crashes(on: Deployment) -> None:
    first_up(on)
    on.does(on.shop.up("2"))
    _broken(on, "1")
    on.does(on.shop.back())


def hook_before_a_rollback_fails(on: Deployment) -> None:
    first_up(on)
    on.does(on.shop.up("2"))
    on.shop.helm.rollback_failures = [("before", HOOK)]
    on.does(on.shop.back())


def hook_after_a_rollback_fails(on: Deployment) -> None:
    first_up(on)
    on.shop.kube.clock.sleep(5)
    on.does(on.shop.up("2"))
    on.shop.kube.drop("Pod", "default", "web-pod")
    on.shop.kube.clock.sleep(5)
    on.shop.helm.rollback_failures = [("after", HOOK)]
    on.does(on.shop.back())


def hook_of_an_automatic_rollback_fails(on: Deployment) -> None:
    first_up(on)
    _broken(on, "2")
    on.shop.helm.rollback_failures = [("before", HOOK)]
    on.does(on.shop.up("2"))


def rollback_after_one_whose_hook_failed(on: Deployment) -> None:
    hook_before_a_rollback_fails(on)
    on.does(on.shop.back())


def interrupted_rollback(on: Deployment) -> None:
    first_up(on)
    on.does(on.shop.up("2"))

    def interrupt() -> None:
        on.shop.helm.interrupt = bool
        raise KeyboardInterrupt

    on.shop.helm.interrupt = interrupt
    on.does(on.shop.back())


def rollback_after_an_interrupted_one(on: Deployment) -> None:
    interrupted_rollback(on)
    on.does(on.shop.back())


def restart_fails(on: Deployment) -> None:
    first_up(on)
    on.does(on.restart())


def what_was_verified_crashes(on: Deployment) -> None:
    first_up(on)
    show(on.shop.kube, "web", ready=False, restarts=3, waiting=BACK_OFF, crashed=1)
    on.does(on.shop.up("1"))


def restart_crashes(on: Deployment) -> None:
    first_up(on)
    kube = on.shop.kube
    kube.clock.at(
        kube.clock.elapsed + 1, lambda: show(kube, "web", ready=False, restarts=3, waiting=BACK_OFF, crashed=1)
    )
    on.does(on.restart())


def one_of_two_releases_fails(on: Deployment) -> None:
    (on.shop.root / "todo-deploy.yaml").write_text(TWO)
    first_up(on)
    _broken(on, "2")
    on.does(on.shop.up("2"))
    assert [one.revision for one in revisions_of("db", "default", on.shop.kube)] == [1]
    assert on.shop.record.history[-1].releases == {"web": 3, "db": 1}


def rollback_after_one_by_hand(on: Deployment) -> None:
    first_up(on)
    on.does(on.shop.up("2"))
    on.shop.helm.rollback("web", "default", 1, 60)
    on.does(on.shop.back())


def test_what_another_helm_made_has_no_verdict_and_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on = Deployment(tmp_path, monkeypatch)
    first_up(on)
    on.does(on.shop.up("2"))
    on.shop.helm.rollback("web", "default", 1, 60)
    found = read_status(on.opened(), on.shop.kube.clock)
    assert [(one.revision, one.verdict) for one in found.releases] == [(3, "")]
    assert "another helm" in found.astray[0]
    on.shop.helm.uninstall("web", "default")
    found = read_status(on.opened(), on.shop.kube.clock)
    assert (found.releases, len(found.astray)) == ((), 1)
    assert "not installed" in found.astray[0]


@pytest.mark.parametrize(
    ("state", "verdict", "exit_code"),
    [
        (first_up, "verified", 0),
        (first_install_fails, "failed", 6),
        (first_install_fails_and_is_kept, "failed", 6),
        (first_install_fails_with_rollback_asked_for, "failed", 6),
        (failed_up, "verified", 5),
        (failed_up_is_kept, "failed", 6),
        (failed_up_is_kept_while_the_old_pod_serves, "failed", 5),
        (upgrade_hook_fails, "verified", 5),
        (rollback, "verified", 0),
        (rollback_to_what_crashes, "failed", 6),
        (hook_before_a_rollback_fails, "failed", 5),
        (hook_after_a_rollback_fails, "failed", 6),
        (hook_of_an_automatic_rollback_fails, "failed", 6),
        (rollback_after_one_whose_hook_failed, "verified", 0),
        (interrupted_rollback, "unfinished", 130),
        (rollback_after_an_interrupted_one, "verified", 0),
        (restart_fails, "verified", 5),
        (what_was_verified_crashes, "failed", 6),
        (restart_crashes, "failed", 6),
        (one_of_two_releases_fails, "verified", 5),
        (rollback_after_one_by_hand, "verified", 0),
    ],
)
def test_every_source_says_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: Callable[[Deployment], None], verdict: str, exit_code: int
) -> None:
    deployment = Deployment(tmp_path, monkeypatch)
    state(deployment)
    assert deployment.truth() == Truth(verdict, verdict, verdict, verdict, exit_code)
