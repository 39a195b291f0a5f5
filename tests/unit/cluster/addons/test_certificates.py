from __future__ import annotations

import base64
import os
import ssl
from pathlib import Path

from deployer.cluster.addons.images import ensure_certificate
from deployer.cluster.addons.table import Certificate
from tests.fakes import FakeKube
from tests.fakes.play import played

WANTED = Certificate("kube-system", "server-tls", "server.kube-system.svc")


def test_it_is_made_once_and_fits_key_and_host(tmp_path: Path) -> None:
    kube = FakeKube()
    _, first = played(ensure_certificate("server", WANTED, kube, dict(os.environ)))
    _, again = played(ensure_certificate("server", WANTED, kube, dict(os.environ)))
    assert first == again
    assert [verb for verb, *_ in kube.writes] == ["create"]
    data = {
        name: base64.b64decode(value) for name, value in kube.get("Secret", "kube-system", "server-tls")["data"].items()
    }  # type: ignore[index]
    for name, content in data.items():
        (tmp_path / name).write_bytes(content)
    # Raises where the key is not the certificate's.
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    trusted = ssl.create_default_context(cafile=tmp_path / "tls.crt").get_ca_certs()
    assert [one["subjectAltName"] for one in trusted] == [(("DNS", "server.kube-system.svc"),)]
    assert base64.b64decode(first) == data["tls.crt"]
