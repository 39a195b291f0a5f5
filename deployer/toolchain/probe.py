"""What this machine reaches: asked once, all at the same time, with a short limit; the answer is kept in the stamp."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from functools import partial

from deployer.toolchain.model import Reach
from deployer.toolchain.pins import DOWNLOADS, REGISTRY_CHECKS
from deployer.toolchain.source.debian import host_sources

LIMIT_SECONDS = 3.0


def probe() -> Reach:
    """Asks all hosts at once. A group counts as reached when every host of it answers as it should."""
    checksums = [checksum_url(item.url + item.checksum_suffix, item.version) for item in DOWNLOADS]
    mirrors = [f"{source.uri.rstrip('/')}/dists/{source.suite}/InRelease" for source in host_sources()[:1]]
    checks: dict[tuple[str, str], Callable[[], bool]] = {}
    checks |= {("downloads", url): partial(_is_checksum, url) for url in checksums}
    checks |= {("registries", url): partial(_is_registry, url) for url in REGISTRY_CHECKS}
    checks |= {("packages", url): partial(_answers, url) for url in mirrors}
    answers = ask(checks, LIMIT_SECONDS)
    groups = {name: [answer for (group, _), answer in answers.items() if group == name] for name, _ in answers}
    return Reach(*(bool(groups.get(name)) and all(groups[name]) for name in ("downloads", "registries", "packages")))


def checksum_url(template: str, version: str) -> str:
    """A small file that upstream publishes, for a platform that always exists."""
    return template.format(version=version, os="linux", arch="amd64")


def ask(checks: dict[tuple[str, str], Callable[[], bool]], limit: float) -> dict[tuple[str, str], bool]:
    """Every check's answer after at most `limit` seconds; one that is not there by then is a no."""
    answers = dict.fromkeys(checks, False)

    def work(key: tuple[str, str], check: Callable[[], bool]) -> None:
        answers[key] = check()

    # Threads, not an executor: looking up a name has no time-out, and nobody waits for a late one.
    threads = [threading.Thread(target=work, args=item, daemon=True) for item in checks.items()]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + limit
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return dict(answers)


def _status(url: str) -> tuple[int, bytes]:
    """The status of a GET and the first bytes of its answer; 0 when there is no answer."""
    # Imported here, because it takes longer than everything else a quiet run does in this package.
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(url, timeout=LIMIT_SECONDS) as answer:  # noqa: S310 (pinned https addresses)
            return answer.status, answer.read(256)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code, b""
    except (OSError, ValueError):
        return 0, b""


def _answers(url: str) -> bool:
    return _status(url)[0] == 200


def _is_registry(url: str) -> bool:
    # A proxy that forbids the host answers 403.
    return _status(url)[0] in {200, 401}


def _is_checksum(url: str) -> bool:
    status, start = _status(url)
    return status == 200 and re.match(rb"[0-9a-f]{64}\b", start) is not None
