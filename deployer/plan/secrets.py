"""What the env values decide: which parts are switched on, which keys are missing, and the Secrets by their content."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import replace

from deployer.config.spec import Image, Secret, Spec
from deployer.core.errors import input_error
from deployer.plan.model import Facts, SecretPlan

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(\|url)?\}")


def switch_states(spec: Spec, env: Mapping[str, str]) -> dict[str, bool]:
    """Each switch's state under these env values."""
    return {
        name: not env.get(switch.when_unset) if switch.when_unset else bool(env.get(switch.when_set or ""))
        for name, switch in spec.switches.items()
    }


def is_on(switch: str | None, states: Mapping[str, bool]) -> bool:
    """Whether a part that names this switch (or none) takes part."""
    return switch is None or states[switch]


def images_on(spec: Spec, env: Mapping[str, str]) -> dict[str, Image]:
    """The images that take part under these env values."""
    on = switch_states(spec, env)
    return {name: image for name, image in spec.images.items() if is_on(image.when, on)}


def wanted_keys(spec: Spec) -> frozenset[str]:
    """The env names that the spec uses: for Secrets, their defaults, builds and switches."""
    keys = [(key, wanted) for secret in spec.secrets.values() for key, wanted in secret.keys.items()]
    defaults = [match[1] for _, wanted in keys for match in _REFERENCE.finditer(wanted.default or "")]
    switches = [one.when_unset or one.when_set or "" for one in spec.switches.values()]
    builds = [key for image in spec.images.values() for key in image.secrets.values()]
    return frozenset([*(wanted.source or key for key, wanted in keys), *defaults, *builds, *switches])


def missing_keys(spec: Spec, env: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """The env names that are required and absent, each with the secret and key that want it."""
    on = switch_states(spec, env)
    missing: dict[str, tuple[str, str]] = {}
    for name, secret in spec.secrets.items():
        for key, wanted in secret.keys.items():
            source = wanted.source or key
            if is_on(secret.when, on) and wanted.kind == "required" and not env.get(source) and wanted.default is None:
                missing[source] = (name, key)
    return missing


def generated_keys(spec: Spec, env: Mapping[str, str]) -> dict[str, int]:
    """The env names that are to be generated because they are absent or empty, with their lengths."""
    on = switch_states(spec, env)
    return {
        wanted.source or key: wanted.length
        for secret in spec.secrets.values()
        if is_on(secret.when, on)
        for key, wanted in secret.keys.items()
        if wanted.kind == "generated" and not env.get(wanted.source or key)
    }


def expand(template: str, env: Mapping[str, str]) -> str:
    """`${KEY}` and `${KEY|url}` replaced by env values; input error where one is absent."""

    def value(match: re.Match[str]) -> str:
        found = env.get(match[1])
        if not found:
            raise input_error(
                "ENV_REFERENCE",
                f"a default in the spec needs `{match[1]}`, which no env file sets",
                hints=("todo-deploy secrets init", f"or add a line {match[1]}=… to the env file"),
            )
        return urllib.parse.quote(found, safe="") if match[2] else found

    return _REFERENCE.sub(value, template)


def plan_secret(spec: Spec, name: str, secret: Secret, facts: Facts) -> SecretPlan:
    data = {key: _secret_value(facts.env, key, source.source, source.default) for key, source in secret.keys.items()}
    planned = _planned(name, secret.namespace or spec.namespace, secret.type, data, facts.salt)
    return replace(planned, stable=name if secret.naming == "stable" else None, labels=secret.labels)


def plan_pull_secret(name: str, namespace: str, facts: Facts) -> SecretPlan:
    """The Secret with which pods of the namespace pull from the registry."""
    data = {".dockerconfigjson": facts.pull_config}
    planned = _planned(name, namespace, "kubernetes.io/dockerconfigjson", data, facts.salt)
    return replace(planned, stable=name, of_registry=True)


def _planned(name: str, namespace: str, kind: str, data: Mapping[str, str], salt: str) -> SecretPlan:
    checksums = {key: _keyed_hash(salt, namespace, name, key, value) for key, value in data.items()}
    checksum = _keyed_hash(salt, namespace, name, kind, *(f"{k}={v}" for k, v in sorted(checksums.items())))
    return SecretPlan(name, namespace, f"{name}-{checksum[:8]}", None, kind, {}, checksum, checksums, data)


def _secret_value(env: Mapping[str, str], key: str, source: str | None, default: str | None) -> str:
    given = env.get(source or key, "")
    return given if given or default is None else expand(default, env)


def _keyed_hash(salt: str, *parts: str) -> str:
    """A keyed hash: a plain one in a name or annotation would let its readers try likely values."""
    message = json.dumps(parts).encode()
    return hmac.new(salt.encode(), message, hashlib.sha256).hexdigest()[:16]
