"""`restart`, from top to bottom: pods are replaced one after the other, and the rollout is watched."""

from __future__ import annotations

from deployer.commands.connection import Opened, one_at_a_time
from deployer.commands.deploy import exit_code, take_back, watch_rollout
from deployer.composition import Run
from deployer.config.spec import seconds
from deployer.core.errors import DeployError, ExitCode
from deployer.core.steps import Steps, stage
from deployer.diagnosis.causes import is_its_own
from deployer.rollout import stage as rollout_stage
from deployer.rollout.stage import Rollout, limits_from
from deployer.stages import restart as restart_stage
from deployer.status import WorkloadRef, WorkloadStatus

STAGES = (restart_stage.STAGE, rollout_stage.STAGE)


@one_at_a_time
def restart(run: Run, opened: Opened, refs: tuple[WorkloadRef, ...]) -> Steps[tuple[WorkloadStatus, ...]]:
    """Every pod of the workloads is another one, and all stayed Available for the hold."""
    yield from run.lock.take(opened.kube)
    since, rules = run.clock.now(), run.spec.rollout
    yield from stage(restart_stage.STAGE, restart_stage.restart_workloads(refs, opened.kube, run.clock), run.clock)
    rollout = Rollout(refs, opened.kube, run.clock, limits_from(rules, seconds(rules.timeout)), since)
    try:
        return (yield from stage(rollout_stage.STAGE, watch_rollout(rollout), run.clock)).value
    except DeployError as error:
        if error.exit_code is ExitCode.NOTHING_SERVES:
            error.exit_code = exit_code(opened.record, opened)
        if error.exit_code is ExitCode.NOTHING_SERVES and is_its_own(error.problems[0].code):
            take_back(opened.record, error.problems[0], run.spec, opened.kube)
        raise
