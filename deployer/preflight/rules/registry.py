"""Every rule there is, in the order in which findings are told."""

from __future__ import annotations

from deployer.preflight.rules import (
    capacity,
    configuration,
    containers,
    images,
    layout,
    policies,
    project,
    references,
    services,
    workloads,
)
from deployer.preflight.rules.model import Rule

RULES: tuple[Rule, ...] = (
    *references.RULES,
    *images.RULES,
    *containers.RULES,
    *services.RULES,
    *workloads.RULES,
    *policies.RULES,
    *configuration.RULES,
    *capacity.RULES,
    *layout.RULES,
    *project.RULES,
)
