"""The vulnerability scanner on PATH, trivy or grype, asked for an image in a Docker daemon, and its report read.

Formats: trivy's report with SchemaVersion 2 (`trivy image --format json`), grype's document (`grype -o json`).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deployer.core.ports import DockerEndpoint
from deployer.core.process import CommandFailed, run
from deployer.core.reading import Malformed, parse_json, shaped
from deployer.core.shell import no_proxy
from deployer.core.text import first_few

SCANNERS = ("trivy", "grype")
_SEVERITIES = ("critical", "high", "medium", "low")
# What the look at a database that is there may take, and the scan of an image.
_LOOK_SECONDS = 30.0
_IMAGE_SECONDS = 300.0
_REASON = 300
# Colours; and what precedes a message: grype's seconds, trivy's time, the level.
_FRAME = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|^(\[\d+\]|\S+Z)?\s+(ERROR|FATAL)\s+")


@dataclass(frozen=True, slots=True)
class _Commands:
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
_COMMANDS = {
    "trivy": _Commands(
        by_hand=("TRIVY_SKIP_DB_UPDATE", "true"),
        renew=("image", "--download-db-only", "--no-progress"),
        usable=(),
        image=("image", "--no-progress", "--skip-db-update", "--scanners", "vuln", "--image-src", "docker",
               "--severity", "UNKNOWN,LOW,MEDIUM,HIGH,CRITICAL", "--exit-code", "0", "--format", "json"),
        target="{ref}",
        env={"TRIVY_SKIP_VERSION_CHECK": "true", "TRIVY_DISABLE_TELEMETRY": "true"},
    ),
    "grype": _Commands(
        by_hand=("GRYPE_DB_AUTO_UPDATE", "false"),
        renew=("db", "update"),
        usable=("db", "status"),
        image=("--fail-on", "", "--output", "json"),
        target="docker:{ref}",
        env={"GRYPE_CHECK_FOR_APP_UPDATE": "false", "GRYPE_DB_AUTO_UPDATE": "false"},
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True, order=True)
class Vulnerability:
    """One known weakness of one package."""

    id: str
    package: str
    severity: str


@dataclass(frozen=True, slots=True)
class Scan:
    """What a scanner found in an image; without a scanner, `why` it was not scanned."""

    scanner: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    critical: tuple[str, ...] = ()
    why: str = ""

    @property
    def verdict(self) -> str:
        """`not scanned`, `critical` or `no critical`."""
        if not self.scanner:
            return "not scanned"
        return "critical" if self.critical else "no critical"

    @property
    def words(self) -> str:
        """The verdict in one line."""
        if not self.scanner:
            return f"not scanned: {self.why}"
        others = sorted(severity for severity in self.counts if severity not in _SEVERITIES)
        counts = ", ".join(f"{self.counts.get(severity, 0)} {severity}" for severity in (*_SEVERITIES, *others))
        return f"scanned by {self.scanner}: {counts}" + (f" ({first_few(self.critical)})" if self.critical else "")


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
        return (self.name, *_COMMANDS[self.name].renew)

    def unready(self, seconds: float) -> str:
        """Why there is no database of vulnerabilities that the scanner would use; empty where there is one.

        Its download may take so many seconds.
        """
        commands = _COMMANDS[self.name]
        name, value = commands.by_hand
        if self.env.get(name, "").lower() == value:
            why = self._ask(commands.usable, _LOOK_SECONDS)[1] if commands.usable else ""
        else:
            why = self._ask(commands.renew, seconds)[1]
            if why and commands.usable and not self._ask(commands.usable, _LOOK_SECONDS)[1]:
                return ""
        return why and f"{self.name} has no current database of vulnerabilities: {why}"

    def scan(self, ref: str) -> Scan:
        """What the scanner finds in the image; not scanned, with the reason, where it fails."""
        commands = _COMMANDS[self.name]
        text, why = self._ask((*commands.image, commands.target.format(ref=ref)), _IMAGE_SECONDS)
        return Scan(why=f"{self.name} failed: {why}") if why else read_report(self.name, text)

    def _ask(self, words: Sequence[str], seconds: float) -> tuple[str, str]:
        """What the program printed, and why it failed where it did."""
        direct = no_proxy(self.env, None)
        daemon = {"DOCKER_HOST": self.endpoint.host, "NO_PROXY": direct, "no_proxy": direct}
        if self.endpoint.cert_path is not None:
            daemon |= {"DOCKER_CERT_PATH": str(self.endpoint.cert_path), "DOCKER_TLS_VERIFY": "1"}
        env = {**self.env, **daemon, **_COMMANDS[self.name].env}
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


def read_report(scanner: str, text: str) -> Scan:
    """The scan that the scanner's JSON report describes; not scanned where it is no report."""
    try:
        document = parse_json(text)
        found = set(_trivy(document) if scanner == "trivy" else _grype(document))
    except Malformed as error:
        return Scan(why=f"{scanner} printed no report that could be read ({error})")
    counts = Counter(one.severity for one in found)
    critical = tuple(f"{one.id} in {one.package}" for one in sorted(found) if one.severity == "critical")
    return Scan(scanner, dict(counts), critical)


@dataclass(frozen=True, slots=True)
class _TrivyFinding:
    VulnerabilityID: str  # the scanners' own names, here and below
    PkgName: str
    Severity: str = "unknown"


@dataclass(frozen=True, slots=True)
class _TrivyResult:
    Vulnerabilities: list[_TrivyFinding] | None = None


@dataclass(frozen=True, slots=True)
class _TrivyReport:
    SchemaVersion: int
    Results: list[_TrivyResult] | None = None


def _trivy(document: Any) -> Iterator[Vulnerability]:
    report = shaped(_TrivyReport, document)
    if report.SchemaVersion != 2:
        raise Malformed("it has another schema")
    for result in report.Results or ():
        for one in result.Vulnerabilities or ():
            yield Vulnerability(one.VulnerabilityID, one.PkgName, one.Severity.lower())


@dataclass(frozen=True, slots=True)
class _GrypeVulnerability:
    id: str
    severity: str


@dataclass(frozen=True, slots=True)
class _GrypeArtifact:
    name: str


@dataclass(frozen=True, slots=True)
class _GrypeMatch:
    vulnerability: _GrypeVulnerability
    artifact: _GrypeArtifact


@dataclass(frozen=True, slots=True)
class _GrypeReport:
    matches: list[_GrypeMatch]


def _grype(document: Any) -> Iterator[Vulnerability]:
    for match in shaped(_GrypeReport, document).matches:
        yield Vulnerability(match.vulnerability.id, match.artifact.name, match.vulnerability.severity.lower())
