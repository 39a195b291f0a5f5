"""A run as the documented `data` of `explain -o json`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from deployer.config.spec import FailFast
from deployer.diagnosis.causes import CAUSES
from deployer.evidence.explain.find import Listed
from deployer.evidence.explain.run import Run
from deployer.evidence.timeline import to_wire


def run_data(run: Run) -> dict[str, Any]:
    """The verdict and what it rests on; logs and descriptions are named, they are files."""
    return {
        "run": run.id,
        "folder": str(run.path),
        "command": run.command,
        "application": run.application,
        "outcome": run.outcome,
        "exitCode": run.exit_code,
        "changed": run.changed,
        "seconds": run.seconds,
        "spec": run.spec or None,
        "profile": run.profile or None,
        "commit": {"sha": run.commit, "dirty": run.dirty} if run.commit else None,
        "versions": dict(run.versions),
        "cause": run.cause.to_wire() if run.cause is not None else None,
        "problems": [one.to_wire() for one in run.problems],
        "warnings": [one.to_wire() for one in run.warnings],
        "images": [dict(one) for one in run.images],
        "releases": [dict(one) for one in run.releases],
        "timeline": to_wire(run.timeline),
        "diff": run.diff,
        "files": list(run.files),
    }


def list_data(runs: tuple[Listed, ...]) -> dict[str, Any]:
    """The runs, the newest first."""
    return {"runs": [{**asdict(one), "path": str(one.path)} for one in runs]}


def rules_data() -> dict[str, Any]:
    """The table of causes."""
    return {
        "causes": [
            {"code": cause.code, "meaning": cause.title, "source": cause.source, "hints": list(cause.hints),
             "policy": {one.value: str(cause.policy(one)) for one in FailFast}}
            for cause in CAUSES.values()
        ]
    }  # fmt: skip
