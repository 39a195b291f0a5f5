"""Objects made fit for a file: no Secret's data, no value under a secret-looking name, no bookkeeping fields."""

from __future__ import annotations

import re
from typing import Any

from deployer.core.ports import Object
from deployer.core.redact import KNOWN, MASK, SECRET_NAME

_URL_PASSWORD = re.compile(r"(://[^/\s:@\"']*:)[^@\s/\"']+@")
_LONGEST_TEXT = 16384
_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def masked(obj: Object) -> Object:
    """The object without what nobody may read and what nobody wants to read."""
    made: Object = _masked(KNOWN.data(obj))
    metadata = {key: value for key, value in (made.get("metadata") or {}).items() if key != "managedFields"}
    if isinstance(metadata.get("annotations"), dict):
        metadata["annotations"] = {key: one for key, one in metadata["annotations"].items() if key != _APPLIED}
    made = {**made, "metadata": metadata}
    for name in ("data", "stringData", "binaryData"):
        data = made.get(name)
        if isinstance(data, dict):
            everything = made.get("kind") == "Secret" or name == "binaryData"
            made[name] = {key: MASK if everything or SECRET_NAME.search(key) else one for key, one in data.items()}
    return made


def without_password(text: str) -> str:
    """The text with the password of each URL in it masked, and cut where it is endless."""
    text = _URL_PASSWORD.sub(rf"\1{MASK}@", text) if "://" in text else text
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "…"


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return without_password(value)
    if isinstance(value, list):
        return [_masked(one) for one in value]
    if not isinstance(value, dict):
        return value
    made = {key: _masked(one) for key, one in value.items()}
    name = made.get("name")
    if isinstance(name, str) and isinstance(made.get("value"), str) and SECRET_NAME.search(name):
        made["value"] = MASK if made["value"] else ""
    return made
