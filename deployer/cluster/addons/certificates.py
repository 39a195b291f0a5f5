"""A self-signed certificate for a server inside the cluster, made once and kept in a Secret."""

from __future__ import annotations

import base64
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from deployer.cluster.addons.manifests import ADDON_LABEL
from deployer.cluster.addons.table import Certificate
from deployer.core.errors import machine_error
from deployer.core.ports import KubePort
from deployer.core.process import CommandFailed, run
from deployer.core.steps import Steps
from deployer.toolchain.source.debian import ensure_packages

# Longer than a local cluster lives.
_DAYS = 3650


def ensure_certificate(addon: str, wanted: Certificate, kube: KubePort, env: Mapping[str, str]) -> Steps[str]:
    """The Secret holds key and certificate; returns the certificate as manifests carry it (base64 of PEM)."""
    kept = kube.get("Secret", wanted.namespace, wanted.secret)
    if kept is None:
        if shutil.which("openssl", path=env.get("PATH")) is None:
            yield from ensure_packages(("openssl",), f"the certificate of {addon} is made with it", env)
        certificate, key = _made(wanted.host, env)
        kept = kube.create(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {
                    "name": wanted.secret,
                    "namespace": wanted.namespace,
                    "labels": {ADDON_LABEL: addon},
                },
                "type": "kubernetes.io/tls",
                "data": {"tls.crt": _encoded(certificate), "tls.key": _encoded(key)},
            }
        )
    return str(kept["data"]["tls.crt"])


def _made(host: str, env: Mapping[str, str]) -> tuple[bytes, bytes]:
    with tempfile.TemporaryDirectory() as name:  # mode 0700
        certificate, key = Path(name) / "tls.crt", Path(name) / "tls.key"
        words: list[str | Path] = [
            "openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-days", str(_DAYS), "-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}",
            "-keyout", key, "-out", certificate,
        ]  # fmt: skip
        try:
            run(words, env=env)
        except CommandFailed as error:
            raise machine_error(
                "ADDON_CERTIFICATE",
                f"openssl could not make a certificate for {host}",
                detail="\n".join(error.tail),
                hints=("openssl version", "todo-deploy up"),
            ) from None
        return certificate.read_bytes(), key.read_bytes()


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()
