"""What registries refuse, by what the Docker daemon passes on."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from deployer.core.errors import DeployError
from deployer.images.docker import pull_credentials
from deployer.images.registry import host_of, is_passing, refusal


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ('Get "https://r:5000/v2/": http: server gave HTTP response to HTTPS client', "REGISTRY_HTTP"),
        ('Get "https://r:5000/v2/": x509: certificate signed by unknown authority', "REGISTRY_CERTIFICATE"),
        ("unauthorized: authentication required", "REGISTRY_LOGIN"),
        ("no basic auth credentials", "REGISTRY_LOGIN"),
        ("denied: requested access to the resource is denied", "REGISTRY_DENIED"),
        ("write /data/x: no space left on device", "REGISTRY_FULL"),
        ("dial tcp 10.0.0.1:5000: connect: connection refused", "REGISTRY_UNREACHABLE"),
        ("lookup r.example.com: no such host", "REGISTRY_UNREACHABLE"),
        ("unexpected EOF", "REGISTRY_UNREACHABLE"),
        ("manifest invalid: something new", "REGISTRY_PUSH"),
    ],
)
def test_a_refusal_is_named_by_its_words(said: str, code: str) -> None:
    error = refusal("r:5000/team/api:1", said)
    assert error.problems[0].code == code
    assert said in error.problems[0].detail
    assert "{" not in "".join((error.problems[0].title, *error.problems[0].hints))
    assert is_passing(error) == (code == "REGISTRY_UNREACHABLE")


def test_the_registry_of_a_short_name_is_dockers() -> None:
    assert (host_of("shop/api:1"), host_of("r:5000/shop/api:1")) == ("docker.io", "r:5000")


def test_credentials_for_pulls_are_dockers_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    packed = base64.b64encode(b"anna:canary").decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {"r:5000": {"auth": packed}}}))
    assert pull_credentials(("other:5000", "r:5000")) == {"username": "anna", "password": "canary", "auth": packed}
    with pytest.raises(DeployError) as caught:
        pull_credentials(("other:5000",))
    assert caught.value.problems[0].code == "PULL_CREDENTIALS"


def test_a_credential_helper_is_asked_and_one_that_fails_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = tmp_path / "docker-credential-company"
    helper.write_text('#!/bin/sh\nread host\necho "{\\"Username\\": \\"$host\\", \\"Secret\\": \\"canary\\"}"\n')
    helper.chmod(0o755)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (tmp_path / "config.json").write_text(json.dumps({"credHelpers": {"r:5000": "company"}}))
    assert pull_credentials(("r:5000",))["username"] == "r:5000"
    helper.write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    with pytest.raises(DeployError) as caught:
        pull_credentials(("r:5000",))
    assert caught.value.problems[0].code == "REGISTRY_HELPER"
