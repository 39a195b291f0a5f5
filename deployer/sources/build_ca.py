"""A company's CA certificates for the programs that fetch packages in a build, and in no image.

Every `RUN` is preceded by shell commands that write the certificates to the build container's `/dev/shm`, which is in
memory and never part of a layer, and set the programs' variables to that file. So images, digests and tags are the same
with and without them. It needs no feature of the builder: the classic one has no secrets.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from deployer.core.errors import input_error
from deployer.sources.dockerfile import instructions

VARIABLE = "TODO_DEPLOY_CA"
# The classic builder reads lines of at most 64 KiB.
_MOST = 40_000
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_FILE, _APT = "/dev/shm/todo-deploy-ca.pem", "/dev/shm/todo-deploy-apt.conf"  # noqa: S108 - of a build's container
# The image's own CA certificates, where Debian, Alpine and Fedora keep them.
_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/cert.pem", "/etc/pki/tls/certs/ca-bundle.crt")
# OpenSSL (apk too), pip and requests, curl, git, cargo, and Node.js, which adds the file to its own.
_NAMES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "CARGO_HTTP_CAINFO",
          "NODE_EXTRA_CA_CERTS")  # fmt: skip
_SHELLS = re.compile(r'"(?:/\S*/)?(?:ba|da|a|k|z)?sh"')
_RUN = re.compile(r"(\s*RUN\s+(?:--\S+\s+)*)", re.IGNORECASE)


def read_certificates(path: Path, shown: str) -> str:
    """The certificates of the file, and nothing else of it; input error where it holds none, or too many."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise input_error(
            "CA_UNREADABLE", f"cannot read the CA certificates in {shown}", detail=error.strerror or "",
            hints=(f"`build.ca` in the spec, --ca or {VARIABLE}: a PEM file",),
        ) from None  # fmt: skip
    found = "\n".join(match[0] for match in _CERTIFICATE.finditer(text))
    if not found:
        raise input_error(
            "CA_EMPTY", f"{shown} contains no PEM certificate", hints=("openssl x509 -inform der -in FILE",)
        )
    if len(found) > _MOST:
        count = found.count("BEGIN")
        raise input_error(
            "CA_TOO_LARGE", f"{shown} contains {count} certificates; a build can take {_MOST // 1000} kB of them",
            hints=("give only your company's own certificates: images have the public ones",),
        )  # fmt: skip
    return found


def prelude(certificates: str) -> str:
    """Shell commands after which programs trust the image's own CA certificates and these; one line, ending in `;`."""
    lines = " ".join(shlex.quote(line.strip()) for line in certificates.splitlines())
    bundles = " || ".join(f"cat {path} 2>/dev/null" for path in _BUNDLES)
    exports = " ".join(f"{name}={_FILE}" for name in _NAMES)
    # npm's setting replaces its own certificates: only a complete file may.
    complete = " || ".join(f"[ -s {path} ]" for path in _BUNDLES)
    return (
        f"{{ {bundles} || true; printf '%s\\n' {lines}; }} > {_FILE}; "
        f"echo 'Acquire::https::CAInfo \"{_FILE}\";' > {_APT}; "
        f"export {exports} APT_CONFIG={_APT}; "
        f"if {complete}; then export npm_config_cafile={_FILE}; fi; "
    )


def with_prelude(dockerfile: str, commands: str) -> str:
    """The Dockerfile with the commands before what each `RUN` gives to a shell; every line keeps its number."""
    lines = dockerfile.splitlines(keepends=True)
    is_shell = True
    for one in instructions(dockerfile):
        if one.word == "FROM":
            is_shell = True
        elif one.word == "SHELL":
            is_shell = bool(_SHELLS.search(one.rest.split(",")[0]))
        elif one.word == "RUN" and is_shell and not one.rest.startswith("[") and "<<" not in one.rest:
            lines[one.first] = _RUN.sub(lambda match: match[1] + commands, lines[one.first], count=1)
    return "".join(lines)
