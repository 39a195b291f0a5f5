"""The vulnerability scanner on PATH, trivy or grype, asked for an image in a Docker daemon."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deployer.core.ports import DockerEndpoint
from deployer.core.process import CommandFailed, run
from deployer.env.shell import no_proxy
from deployer.images.scan_reports import SCANNERS, Scan, read_report

# What the look at a database that is there may take, and the scan of an image.
_LOOK_SECONDS = 30.0
_IMAGE_SECONDS = 300.0
_REASON = 300
# Colours; and what stands before a message: grype's seconds, trivy's time, the level.
_FRAME = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|^(\[\d+\]|\S+Z)?\s+(ERROR|FATAL)\s+")


@dataclass(frozen=True, slots=True)
class _Words:
    """How a scanner is asked: to renew its database, whether that can be used as it is, and for an image.

    `by_hand` is the setting by which a user says that the database is renewed by hand.
    """

    by_hand: tuple[str, str]
    renew: tuple[str, ...]
    usable: tuple[str, ...]
    image: tuple[str, ...]
    target: str
    env: Mapping[str, str]


# Neither gets `--quiet`: with it they do not say why they failed. A user's settings may make findings a failure, with
# which the report would be lost: not here. Telemetry and the look for a newer program are switched off by variables,
# which older versions ignore.
_WORDS = {
    "trivy": _Words(
        by_hand=("TRIVY_SKIP_DB_UPDATE", "true"),
        renew=("image", "--download-db-only", "--no-progress"),
        usable=(),
        image=("image", "--no-progress", "--skip-db-update", "--scanners", "vuln", "--image-src", "docker",
               "--severity", "UNKNOWN,LOW,MEDIUM,HIGH,CRITICAL", "--exit-code", "0", "--format", "json"),
        target="{ref}",
        env={"TRIVY_SKIP_VERSION_CHECK": "true", "TRIVY_DISABLE_TELEMETRY": "true"},
    ),
    "grype": _Words(
        by_hand=("GRYPE_DB_AUTO_UPDATE", "false"),
        renew=("db", "update"),
        usable=("db", "status"),
        image=("--fail-on", "", "--output", "json"),
        target="docker:{ref}",
        env={"GRYPE_CHECK_FOR_APP_UPDATE": "false", "GRYPE_DB_AUTO_UPDATE": "false"},
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scanner:
    """A scanner that looks into one daemon."""

    name: str
    program: str
    endpoint: DockerEndpoint
    env: Mapping[str, str]

    @property
    def renewal(self) -> tuple[str, ...]:
        """The command that downloads its database of vulnerabilities."""
        return (self.name, *_WORDS[self.name].renew)

    def unready(self, seconds: float) -> str:
        """Why there is no database of vulnerabilities that the scanner would use; empty where there is one.

        Its download may take so many seconds.
        """
        words = _WORDS[self.name]
        name, value = words.by_hand
        if self.env.get(name, "").lower() == value:
            why = self._ask(words.usable, _LOOK_SECONDS)[1] if words.usable else ""
        else:
            why = self._ask(words.renew, seconds)[1]
            if why and words.usable and not self._ask(words.usable, _LOOK_SECONDS)[1]:
                return ""
        return why and f"{self.name} has no current database of vulnerabilities: {why}"

    def scan(self, ref: str) -> Scan:
        """What the scanner finds in the image; not scanned, with the reason, where it fails."""
        words = _WORDS[self.name]
        text, why = self._ask((*words.image, words.target.format(ref=ref)), _IMAGE_SECONDS)
        return Scan(why=f"{self.name} failed: {why}") if why else read_report(self.name, text)

    def _ask(self, words: Sequence[str], seconds: float) -> tuple[str, str]:
        """What the program printed, and why it failed where it did."""
        direct = no_proxy(self.env, None)
        daemon = {"DOCKER_HOST": self.endpoint.host, "NO_PROXY": direct, "no_proxy": direct}
        if self.endpoint.cert_path is not None:
            daemon |= {"DOCKER_CERT_PATH": str(self.endpoint.cert_path), "DOCKER_TLS_VERIFY": "1"}
        env = {**self.env, **daemon, **_WORDS[self.name].env}
        try:
            return run([self.program, *words], env=env, timeout=seconds), ""
        except CommandFailed as failed:
            return "", _last(failed.tail) or str(failed)
        except subprocess.TimeoutExpired:
            return "", f"no end after {seconds:.0f} s of `{' '.join([self.name, *words])}`"
        except OSError as error:
            return "", str(error)


def _last(lines: Sequence[str]) -> str:
    """The last line that says something, without what frames it, as long as some lines of a screen."""
    said = [" ".join(_FRAME.sub("", line).split()) for line in lines]
    return next((line[:_REASON] for line in reversed(said) if line), "")


def find_scanner(env: Mapping[str, str], endpoint: DockerEndpoint) -> Scanner | None:
    """The scanner on PATH, trivy before grype; None where there is none."""
    path = env.get("PATH", os.defpath)
    for name in SCANNERS:
        program = shutil.which(name, path=path)
        if program is not None:
            return Scanner(name, program, endpoint, env)
    return None
