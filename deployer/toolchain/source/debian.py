"""The Debian base image: bootstrapped from the package mirror that this machine itself uses.

The image also carries the machine's certificate authorities, without which nothing behind a company's proxy
can be fetched in a build. What is particular to the machine (mirror, authorities) decides whether the image is
rebuilt, but not its name: names are the same everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from deployer.core.errors import machine_error
from deployer.core.events import Item, ItemState, Log
from deployer.core.process import CommandFailed, run, stream
from deployer.core.steps import Steps
from deployer.toolchain.files import digest, recipe_digest, work_folder
from deployer.toolchain.model import STAGE
from deployer.toolchain.source.apt import ensure_packages
from deployer.toolchain.source.images import LABEL, OURS, label_of

SUITE = "bookworm"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


@cache
def base_ref() -> str:
    """The base image's name."""
    return f"{OURS}/debian:{SUITE}-{recipe_digest('debian')[:8]}"


def ca_bundle(env: Mapping[str, str]) -> bytes:
    """The certificate authorities that this machine trusts."""
    for name in (env.get("SSL_CERT_FILE"), env.get("CURL_CA_BUNDLE"), *_BUNDLES):
        if name and Path(name).is_file():
            return Path(name).read_bytes()
    return b""


def apt_lines(files: Iterable[tuple[str, str]]) -> list[str]:
    """The `deb` lines for the suite in apt's source files, given as (name, text), of both formats."""
    found: list[str] = []
    for name, text in files:
        lines = _deb822(text) if name.endswith(".sources") else _one_line(text)
        found += [line for line in lines if line not in found]
    return found


def _one_line(text: str) -> Iterable[str]:
    for line in text.splitlines():
        match = re.match(r"deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+(.+?)\s*(?:#.*)?$", line.strip())
        if match and match[2].split("-")[0] == SUITE:
            yield f"deb {match[1]} {match[2]} {match[3]}"


def _deb822(text: str) -> Iterable[str]:
    for paragraph in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.+)$", paragraph, re.MULTILINE))
        if "deb" not in fields.get("Types", "").split() or fields.get("Enabled", "yes").lower() == "no":
            continue
        for uri in fields.get("URIs", "").split():
            for suite in fields.get("Suites", "").split():
                if suite.split("-")[0] == SUITE:
                    yield f"deb {uri} {suite} {fields.get('Components', 'main')}"


def host_apt_lines(root: Path = Path("/etc/apt")) -> list[str]:
    """This machine's own `deb` lines for the suite; none where it is not that Debian."""
    paths = [root / "sources.list", *sorted((root / "sources.list.d").glob("*"))]
    readable = [path for path in paths if path.is_file() and path.suffix in {".list", ".sources"}]
    return apt_lines((path.name, path.read_text(encoding="utf-8", errors="replace")) for path in readable)


def base_digest(env: Mapping[str, str]) -> str:
    """What the base image's label says when it is up to date."""
    return digest(recipe_digest("debian"), host_apt_lines(), ca_bundle(env))


def ensure_base(docker: Path, cache_dir: Path, env: Mapping[str, str]) -> Steps[bool]:
    """The base image exists and suits this machine; returns whether it had to be built."""
    wanted = base_digest(env)
    if label_of(docker, base_ref(), env) == wanted:
        return False
    yield from ensure_packages(("debootstrap", "debian-archive-keyring"), "base images are made with it", env)
    yield Item(STAGE, base_ref(), ItemState.RUNNING, "bootstrapping Debian")
    try:
        with work_folder(cache_dir, "debian") as folder:
            root = folder / "root"
            for line in stream(_bootstrap(root), env={**env, "DEBIAN_FRONTEND": "noninteractive"}):
                yield Log(STAGE, base_ref(), line)
            _finish(root, env)
            archive = folder / "root.tar"
            run(["tar", "--numeric-owner", "-C", root, "-cf", archive, "."], timeout=600)
            change = ["--change", f"LABEL {LABEL}={wanted}", "--change", 'CMD ["/bin/bash"]']
            run([docker, "import", *change, archive, base_ref()], env=env, timeout=600)
    except CommandFailed as error:
        yield Item(STAGE, base_ref(), ItemState.FAILED)
        raise machine_error(
            "TOOLCHAIN_BASE",
            "the Debian base image could not be made",
            detail="\n".join(error.tail),
            hints=("apt-get update", "todo-deploy doctor"),
        ) from error
    yield Item(STAGE, base_ref(), ItemState.DONE)
    return True


def _bootstrap(root: Path) -> list[str]:
    """debootstrap in a mount namespace of its own: what it mounts is gone when it is killed."""
    words = ["unshare", "--mount", "debootstrap", "--variant=minbase", f"--keyring={KEYRING}", SUITE, str(root)]
    lines = host_apt_lines()
    return [*words, lines[0].split()[1]] if lines else words


def _finish(root: Path, env: Mapping[str, str]) -> None:
    """The machine's sources and authorities are in; what no container needs is out and stays out."""
    lines = host_apt_lines()
    if lines:
        (root / "etc/apt/sources.list").write_text("\n".join(lines) + "\n", encoding="utf-8")
    bundle = ca_bundle(env)
    for name in ("etc/todo-deploy/ca-bundle.crt", "etc/ssl/certs/ca-certificates.crt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(bundle)
    recipes = Path(__file__).parents[1] / "recipes" / "debian"
    (root / "etc/dpkg/dpkg.cfg.d/slim").write_bytes((recipes / "dpkg.cfg").read_bytes())
    (root / "etc/apt/apt.conf.d/slim").write_bytes((recipes / "apt.conf").read_bytes())
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    run(["sh", recipes / "slim.sh", root], timeout=120)
