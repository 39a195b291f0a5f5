"""The vulnerability scanner on PATH, trivy or grype, asked for an image in a Docker daemon."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from deployer.adapters.process import CommandFailed, run
from deployer.ports import DockerEndpoint
from deployer.scanning import SCANNERS, Scan, read_report

# The first scan of a machine downloads a database of some hundred megabytes.
_TIMEOUT = 600.0
_WORDS = {
    "trivy": ("image", "--quiet", "--scanners", "vuln", "--image-src", "docker", "--format", "json"),
    "grype": ("--quiet", "--output", "json"),
}


@dataclass(frozen=True, slots=True)
class Scanner:
    """A scanner that looks into one daemon."""

    name: str
    program: str
    endpoint: DockerEndpoint
    env: Mapping[str, str]

    def scan(self, ref: str) -> Scan:
        """What the scanner finds in the image; not scanned, with the reason, where it fails."""
        docker = {"DOCKER_HOST": self.endpoint.host}
        if self.endpoint.cert_path is not None:
            docker |= {"DOCKER_CERT_PATH": str(self.endpoint.cert_path), "DOCKER_TLS_VERIFY": "1"}
        target = f"docker:{ref}" if self.name == "grype" else ref
        try:
            text = run([self.program, *_WORDS[self.name], target], env={**self.env, **docker}, timeout=_TIMEOUT)
        except CommandFailed as failed:
            return Scan(why=f"{self.name} failed: {failed.tail[-1] if failed.tail else failed}")
        except (OSError, subprocess.TimeoutExpired) as error:
            return Scan(why=f"{self.name} failed: {error}")
        return read_report(self.name, text)


def find_scanner(env: Mapping[str, str], endpoint: DockerEndpoint) -> Scanner | None:
    """The scanner on PATH, trivy before grype; None where there is none."""
    path = env.get("PATH", os.defpath)
    for name in SCANNERS:
        program = shutil.which(name, path=path)
        if program is not None:
            return Scanner(name, program, endpoint, env)
    return None
