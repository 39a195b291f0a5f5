"""The keys of the spec's Secrets and where each stands in the env files, without any value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from deployer.config.spec import SecretKeySource, Spec
from deployer.core.errors import Problem
from deployer.env.parser import EnvFile
from deployer.plan import is_on, switch_states

KeyState = Literal["set", "default", "generated", "empty", "missing", "placeholder", "off"]


@dataclass(frozen=True, slots=True)
class KeyRow:
    """One key of one Secret; `where` is the line of the env file that gives it, if any."""

    secret: str
    key: str
    source: str
    kind: str
    state: KeyState
    where: str = ""


def key_rows(spec: Spec, env: EnvFile, problems: Iterable[Problem]) -> tuple[KeyRow, ...]:
    """Every key in the spec's order; `problems` are those of `inputs.env_problems`.

    States: `generated` will be made by the next `up`, `default` is made from the spec's default, `off` belongs to a
    Secret that is switched off.
    """
    left = {problem.where for problem in problems if problem.code == "ENV_PLACEHOLDER"}
    on = switch_states(spec, {key: entry.value for key, entry in env.items()})
    rows = []
    for name, secret in spec.secrets.items():
        for key, wanted in secret.keys.items():
            source = wanted.source or key
            where = env[source].where if source in env else ""
            state: KeyState = "off" if not is_on(secret.when, on) else _state(wanted, env.value(source), where in left)
            rows.append(KeyRow(name, key, source, wanted.kind, state, where))
    return tuple(rows)


def _state(wanted: SecretKeySource, value: str | None, is_placeholder: bool) -> KeyState:
    if value:
        return "placeholder" if is_placeholder else "set"
    if wanted.kind == "generated":
        return "generated"
    if wanted.default is not None:
        return "default"
    return "missing" if value is None and wanted.kind == "required" else "empty"
