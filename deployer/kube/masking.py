"""The API server as everything here reads it: free text (logs, events, messages of statuses) masked and clean."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Generator, Iterable, Sequence
from contextlib import suppress
from typing import Any, cast

from deployer.core.errors import DeployError
from deployer.core.ports import APPLICATION_LABEL, KubePort, Object, made_for
from deployer.core.redact import KNOWN, foreign
from deployer.status.objects import labels_of

LONGEST_MESSAGE = 4096
"""Characters of a message that are kept: the kubelet keeps no more of a container's, events have at most 1024."""


def masked(kube: KubePort) -> KubePort:
    """The same API server, whose texts hold no known secret value; values of our Secrets are known once read."""
    return cast(KubePort, _Masked(kube))


def learn_secrets(kube: KubePort, application: str, namespaces: Iterable[str]) -> None:
    """The values of the application's Secrets, those of earlier revisions included, are masked from now on.

    Who may not list the Secrets of all namespaces learns those of these.
    """
    for name in ("", *namespaces):
        with suppress(DeployError):  # who may not list Secrets is shown none of them
            for secret in kube.list("Secret", name, labels=made_for(application)):
                KNOWN.learn_keys(_values(secret))
            if not name:
                return


class _Masked:
    def __init__(self, kube: KubePort) -> None:
        self._kube = kube

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kube, name)

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        found = self._kube.get(kind, namespace, name)
        if found is not None:
            _read(kind, found)
        return found

    def list(
        self, kind: str, namespace: str = "", *, labels: str = "", fields: str = "", metadata_only: bool = False
    ) -> list[Object]:
        found = self._kube.list(kind, namespace, labels=labels, fields=fields, metadata_only=metadata_only)
        for one in () if metadata_only else found:
            _read(kind, one)
        return found

    def logs(
        self, namespace: str, pod: str, container: str, *, previous: bool = False, tail: int = 40
    ) -> Sequence[str]:
        lines = self._kube.logs(namespace, pod, container, previous=previous, tail=tail)
        return foreign("\n".join(lines)).split("\n") if lines else ()  # one text: a value may have several lines

    def follow(
        self, namespace: str, pod: str, container: str, *, tail: int, previous: bool, follow: bool
    ) -> Generator[str, None, None]:
        for line in self._kube.follow(namespace, pod, container, tail=tail, previous=previous, follow=follow):
            yield foreign(line)


def _read(kind: str, obj: Object) -> None:
    """What the object says in words is masked in place; the values of a Secret of ours are known."""
    if kind == "Secret":
        if APPLICATION_LABEL in labels_of(obj):
            KNOWN.learn_keys(_values(obj))
    elif kind == "Event":
        _mask(obj, ("message", "note"))
    else:
        _mask_messages(obj.get("status"))


def _values(secret: Object) -> Iterable[tuple[str, str]]:
    for key, value in (secret.get("data") or {}).items():
        with suppress(binascii.Error, UnicodeDecodeError):
            yield str(key), base64.b64decode(str(value)).decode()


def _mask_messages(value: Any) -> None:
    if type(value) is dict:
        _mask(value, ("message",))
        for one in value.values():
            _mask_messages(one)
    elif type(value) is list:
        for one in value:
            _mask_messages(one)


def _mask(obj: Object, names: Sequence[str]) -> None:
    for name in names:
        if isinstance(text := obj.get(name), str):
            obj[name] = foreign(text)[:LONGEST_MESSAGE]
