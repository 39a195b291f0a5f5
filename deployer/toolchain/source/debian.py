"""Debian: packages on this machine, and the base image that is bootstrapped from the mirror this machine itself uses.

The image carries Debian's sources with the security suite, and the machine's CA certificates, without which nothing
behind a company's proxy can be fetched in a build. What is particular to the machine (mirror, certificates) decides
whether the image is rebuilt, but not its name: names are the same everywhere.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from deployer.core.errors import Problem, machine_error
from deployer.core.events import Item, ItemState, Log, Warned
from deployer.core.process import CommandFailed, run, stream
from deployer.core.steps import Steps
from deployer.toolchain.files import RECIPES, digest, recipe_digest, work_folder
from deployer.toolchain.model import STAGE, is_root
from deployer.toolchain.source.images import LABEL, OURS, BuildHost, is_current

SUITE = "bookworm"
SECURITY = f"{SUITE}-security"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_SUITES = (SUITE, f"{SUITE}-updates", SECURITY)
_COMPONENTS = {"main", "contrib", "non-free", "non-free-firmware"}
_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
_RECIPES = RECIPES / "debian"


def can_install() -> bool:
    """Whether this is Debian or a relative of it, and we are root."""
    return is_root() and shutil.which("apt-get") is not None and Path("/etc/debian_version").exists()


def missing(packages: Iterable[str]) -> list[str]:
    """Those of the packages that are not installed."""
    wanted = list(packages)
    try:
        listed = run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n"])
    except (CommandFailed, OSError):
        return wanted
    installed = {line.split()[0] for line in listed.splitlines() if line.endswith(" installed")}
    return [package for package in wanted if package not in installed]


def ensure_packages(packages: Iterable[str], why: str, env: Mapping[str, str]) -> Steps[bool]:
    """The packages are installed; returns whether any had to be."""
    wanted = missing(packages)
    if not wanted:
        return False
    if not can_install():
        raise machine_error(
            "MACHINE_PACKAGES",
            f"{', '.join(wanted)} must be installed: {why}",
            hints=(f"sudo apt-get install {' '.join(wanted)}",),
        )
    yield Item(STAGE, "packages", ItemState.RUNNING, f"installing {', '.join(wanted)}")
    settings = {**env, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "-o", "DPkg::Lock::Timeout=120", "install", "-y", "--no-install-recommends", *wanted]
    try:
        try:
            yield from _logged(install, settings)
        except CommandFailed:
            # Either the lists are old, or a dpkg was killed, which refuses everything until it may finish.
            yield from _logged(["apt-get", "-o", "DPkg::Lock::Timeout=120", "update"], settings)
            yield from _logged(["dpkg", "--configure", "-a"], settings)
            yield from _logged(install, settings)
    except CommandFailed as error:
        raise machine_error(
            "MACHINE_PACKAGES",
            f"the packages {', '.join(wanted)} could not be installed",
            detail=error.output,
            hints=("apt-get update && " + " ".join(install),),
        ) from error
    yield Item(STAGE, "packages", ItemState.DONE, f"installed {', '.join(wanted)}")
    return True


def _logged(argv: list[str], env: Mapping[str, str]) -> Steps[None]:
    for line in stream(argv, env=env):
        yield Log(STAGE, "packages", line)


@cache
def base_ref() -> str:
    """The base image's name."""
    return f"{OURS}/debian:{SUITE}-{recipe_digest('debian')[:8]}"


def ca_bundle(env: Mapping[str, str]) -> bytes:
    """The CA certificates that this machine trusts."""
    for name in (env.get("SSL_CERT_FILE"), env.get("CURL_CA_BUNDLE"), *_BUNDLES):
        if name and Path(name).is_file():
            return Path(name).read_bytes()
    return b""


@dataclass(frozen=True, slots=True)
class Source:
    """One suite of one archive in apt's source files; `signed_by` as written there, "" where it is not said."""

    uri: str
    suite: str
    components: tuple[str, ...]
    signed_by: str = ""

    @property
    def line(self) -> str:
        """The source in apt's one-line format."""
        return f"deb {self.uri} {self.suite} {' '.join(self.components)}"


def apt_sources(files: Iterable[tuple[str, str]]) -> Iterator[Source]:
    """Every enabled source of binary packages in apt's files, given as (name, text), of both formats."""
    for name, text in files:
        yield from _deb822(text) if name.endswith(".sources") else _one_line(text)


def _one_line(text: str) -> Iterator[Source]:
    for line in text.splitlines():
        match = re.match(r"deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]+)", line.strip())
        if match:
            signed_by = re.search(r"signed-by=(\S+)", match[1] or "")
            yield Source(match[2], match[3], tuple(match[4].split()), signed_by[1] if signed_by else "")


def _deb822(text: str) -> Iterator[Source]:
    for paragraph in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.*(?:\n[ \t].*)*)$", paragraph, re.MULTILINE))
        if "deb" not in fields.get("Types", "").split() or fields.get("Enabled", "yes").lower() == "no":
            continue
        components = tuple(fields.get("Components", "main").split())
        for uri in fields.get("URIs", "").split():
            for suite in fields.get("Suites", "").split():
                yield Source(uri, suite, components, fields.get("Signed-By", "").strip())


def is_debians(source: Source, lists: Path) -> bool:
    """Whether it is Debian's own archive of our suite: by the key that signs it, else by the origin that it states.

    Where apt has not fetched that yet, the last part of the address decides: on Debian's mirrors it is `debian` or
    `debian-security`.
    """
    if source.suite not in _SUITES or not set(source.components) <= _COMPONENTS:
        return False
    if source.signed_by:
        return all(PurePosixPath(key).name.startswith("debian-archive-") for key in source.signed_by.split())
    uri = urlsplit(source.uri)
    place = f"{uri.netloc.rpartition('@')[2]}{uri.path.rstrip('/')}/dists/{source.suite}".replace("_", "%5f")
    for name in ("InRelease", "Release"):
        path = lists / f"{place.replace('/', '_')}_{name}"
        if path.is_file():
            return re.search(r"^Origin: Debian$", path.read_text(encoding="utf-8", errors="replace"), re.M) is not None
    return PurePosixPath(uri.path).name in {"debian", "debian-security"}


def host_sources(root: Path = Path("/etc/apt"), lists: Path = Path("/var/lib/apt/lists")) -> list[Source]:
    """This machine's own sources of Debian's suite, main suite first; none where it is not that Debian."""
    paths = [root / "sources.list", *sorted((root / "sources.list.d").glob("*"))]
    readable = [path for path in paths if path.is_file() and path.suffix in {".list", ".sources"}]
    files = ((path.name, path.read_text(encoding="utf-8", errors="replace")) for path in readable)
    found = {source.line: source for source in apt_sources(files) if is_debians(source, lists)}
    ordered = sorted(found.values(), key=lambda source: _SUITES.index(source.suite))
    return ordered if ordered and ordered[0].suite == SUITE else []


def with_security(sources: list[Source]) -> list[Source]:
    """The sources with the security suite; where none of them is it, from the same host, beside the main suite."""
    if not sources or any(source.suite == SECURITY for source in sources):
        return sources
    main = sources[0]
    return [*sources, Source(f"{main.uri.rstrip('/')}-security", SECURITY, main.components)]


def base_digest(env: Mapping[str, str]) -> str:
    """What the base image's label says when it is up to date."""
    return digest(recipe_digest("debian"), [source.line for source in host_sources()], ca_bundle(env))


def has_base(host: BuildHost) -> bool:
    """Whether the base image exists and suits this machine."""
    return is_current(host, base_ref(), base_digest(host.env))


def ensure_base(host: BuildHost) -> Steps[bool]:
    """The base image exists and suits this machine; returns whether it had to be built."""
    if has_base(host):
        return False
    env, wanted = host.env, base_digest(host.env)
    yield from ensure_packages(("debootstrap", "debian-archive-keyring"), "base images are made with it", env)
    yield Item(STAGE, base_ref(), ItemState.RUNNING, "bootstrapping Debian")
    try:
        with work_folder(host.cache_dir, "debian") as folder:
            root = folder / "root"
            for line in stream(_bootstrap(root), env={**env, "DEBIAN_FRONTEND": "noninteractive"}):
                yield Log(STAGE, base_ref(), line)
            yield from _finish(root, env)
            archive = folder / "root.tar"
            run(["tar", "--numeric-owner", "-C", root, "-cf", archive, "."], timeout=600)
            change = ["--change", f"LABEL {LABEL}={wanted}", "--change", 'CMD ["/bin/bash"]']
            run([host.docker, "import", *change, archive, base_ref()], env=env, timeout=600)
    except CommandFailed as error:
        yield Item(STAGE, base_ref(), ItemState.FAILED)
        raise machine_error(
            "TOOLCHAIN_BASE",
            "the Debian base image could not be made",
            detail=error.output,
            hints=("apt-get update", "todo-deploy doctor"),
        ) from error
    yield Item(STAGE, base_ref(), ItemState.DONE)
    return True


def _bootstrap(root: Path) -> list[str]:
    """debootstrap in a mount namespace of its own: what it mounts is gone when it is killed."""
    words = ["unshare", "--mount", "debootstrap", "--variant=minbase", f"--keyring={KEYRING}", SUITE, str(root)]
    return [*words, *(source.uri for source in host_sources()[:1])]


def _finish(root: Path, env: Mapping[str, str]) -> Steps[None]:
    """Sources and CA certificates are in, packages are up to date; what no container needs is out and stays out."""
    bundle = ca_bundle(env)
    for name in ("etc/todo-deploy/ca-bundle.crt", "etc/ssl/certs/ca-certificates.crt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(bundle)
    (root / "etc/dpkg/dpkg.cfg.d/slim").write_bytes((_RECIPES / "dpkg.cfg").read_bytes())
    (root / "etc/apt/apt.conf.d/slim").write_bytes((_RECIPES / "apt.conf").read_bytes())
    yield from _upgrade(root, env)
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    run(["sh", _RECIPES / "slim.sh", root], timeout=120)


def _upgrade(root: Path, env: Mapping[str, str]) -> Steps[None]:
    """The image has this machine's sources, or debootstrap's, and the security suite, and what they have newer."""
    listed = root / "etc/apt/sources.list"
    bootstrapped = list(_one_line(listed.read_text(encoding="utf-8"))) if listed.exists() else []
    found = host_sources() or bootstrapped
    for sources in (with_security(found), found):
        listed.write_text("".join(f"{source.line}\n" for source in sources), encoding="utf-8")
        try:
            for line in stream(["unshare", "--mount", "sh", _RECIPES / "upgrade.sh", root], env=env):
                yield Log(STAGE, base_ref(), line)
            return
        except CommandFailed as error:
            if len(sources) == len(found):
                raise
            yield Warned(_no_security_suite(sources[-1], error))


def _no_security_suite(source: Source, error: CommandFailed) -> Problem:
    return Problem(
        "TOOLCHAIN_SECURITY_SUITE",
        f"base images are made without security fixes: {source.uri} does not serve {source.suite}",
        detail=error.output,
        hints=(f"add a source of {source.suite} to /etc/apt/sources.list",),
    )
