"""Which parts of a spec take part under these env values."""

from __future__ import annotations

from collections.abc import Mapping

from deployer.config.spec import Spec


def switch_states(spec: Spec, env: Mapping[str, str]) -> dict[str, bool]:
    """Each switch's state under these env values."""
    return {
        name: not env.get(switch.when_unset) if switch.when_unset else bool(env.get(switch.when_set or ""))
        for name, switch in spec.switches.items()
    }


def is_on(switch: str | None, states: Mapping[str, bool]) -> bool:
    """Whether a part that names this switch (or none) takes part."""
    return switch is None or states[switch]
