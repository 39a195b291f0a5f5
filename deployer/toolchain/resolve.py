"""Which way the toolchain comes about on this machine, and making it so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from deployer.core.errors import machine_error
from deployer.core.events import Item, ItemState
from deployer.core.steps import Steps, merge
from deployer.toolchain.files import bundled, bundled_folder, link, locked
from deployer.toolchain.locate import NAMES, Found, look, probe, read_stamp, with_chosen_helm, write_stamp
from deployer.toolchain.model import STAGE, Reach, Setting, Toolchain, Way, operating_system
from deployer.toolchain.pins import BUILDS, DOWNLOADS, HELM, KUBERNETES, MINIKUBE, RUNC_FIT, Build
from deployer.toolchain.source import node
from deployer.toolchain.source.base_images import make_replacements
from deployer.toolchain.source.debian import ensure_base, has_base
from deployer.toolchain.source.go import built, ensure_built, ensure_go, ensure_modules
from deployer.toolchain.source.images import BuildHost, are_current

_FROM_BUILD = {"minikube": "minikube", "helm": "helm", "kubectl": "kubernetes"}
_PINNED = {"minikube": MINIKUBE, "helm": HELM, "kubectl": KUBERNETES}
_BUILDS: Mapping[str, Build] = {build.name: build for build in BUILDS}


def ensure_toolchain(
    setting: Setting, cache_dir: Path, env: Mapping[str, str], docker: Path, bases: Iterable[str] = ()
) -> Steps[Toolchain]:
    """Programs and, where they must be made here, images exist; `docker` is what `ensure_docker` returned.

    Where images must be made, the replacements of these base images are made too while programs are compiled.
    May be killed at any point and carries on the next time. A way once found is kept while its files are there. Where
    all is there, it does not wait for what another run makes.
    """
    host = BuildHost(docker, cache_dir, env, tuple(bases))
    known = _known(setting, host)
    if known is not None and (not known.offline_images or _has_source_images(host, own_helm=_own_helm(known, host))):
        yield Item(STAGE, "toolchain", ItemState.UNCHANGED, known.why)
        return with_chosen_helm(known, env)
    return with_chosen_helm((yield from locked(cache_dir, _ensure(setting, host))), env)


def _known(setting: Setting, host: BuildHost) -> Toolchain | None:
    """The toolchain of an earlier run, where its programs are still the same."""
    known = read_stamp(setting, host.cache_dir)
    return known[0] if known is not None and known[0].docker == host.docker else None


def _own_helm(known: Toolchain, host: BuildHost) -> bool:
    """Whether its helm is this machine's own or a bundle's, and not the one that is built."""
    return known.helm.parent != built(host.cache_dir, _BUILDS["helm"])


def _ensure(setting: Setting, host: BuildHost) -> Steps[Toolchain]:
    cache_dir = host.cache_dir
    known = _known(setting, host)
    if known is not None:
        if known.offline_images:
            yield from _source_images(replace(host, bases=()), own_helm=_own_helm(known, host))
        yield Item(STAGE, "toolchain", ItemState.UNCHANGED, known.why)
        return known
    reach: Reach | None = None
    note = bundled(cache_dir)
    if note is not None and setting in ("auto", note["way"]) and _is_usable(note, cache_dir):
        toolchain = yield from _bundled(note, host)
    else:
        if setting == "auto":
            yield Item(STAGE, "toolchain", ItemState.RUNNING, "looking at what this machine reaches")
            reach = probe()
        toolchain = yield from _resolve(setting, reach, host)
    for name in (*NAMES, "docker"):
        link(toolchain.bin / name, getattr(toolchain, name))
    write_stamp(setting, cache_dir, toolchain, reach)
    yield Item(STAGE, "toolchain", ItemState.DONE, toolchain.why)
    return toolchain


def _resolve(setting: Setting, reach: Reach | None, host: BuildHost) -> Steps[Toolchain]:
    cache_dir, env = host.cache_dir, host.env
    if setting == "source" or (reach is not None and from_source(reach)):
        why = "the setting says so" if reach is None else reach.in_words()
        return (yield from _source(f"built from source, with the cluster's images: {why}", host))
    found = {} if setting == "download" else {name: look(name, env) for name in NAMES}
    fit = {name: program for name, program in found.items() if program is not None and not program.unfit}
    lacking = [name for name in NAMES if name not in fit]
    names, troubles = ", ".join(lacking), "; ".join(_trouble(name, found.get(name)) for name in lacking)
    if setting == "path" and lacking:
        title, hints = f"{names} cannot be used from PATH", (f"install {names}", "set `toolchain: auto`")
        raise machine_error("TOOLCHAIN_PATH", title, detail=troubles, hints=hints)
    paths = {name: program.path for name, program in fit.items()}
    versions = {name: program.version for name, program in fit.items()}
    way: Way = "path"
    why = "minikube, helm and kubectl on PATH are new enough"
    if lacking and (reach is None or reach.downloads):
        way = "download"
        why = f"{names} downloaded ({'the setting says so' if reach is None else troubles})"
        from deployer.toolchain.download import ensure_downloaded  # its HTTP client is slow to import

        for item in DOWNLOADS:
            if item.name in lacking:
                paths[item.name] = yield from ensure_downloaded(cache_dir, item)
    elif lacking and reach is not None and (reach.packages or reach.registries):
        way = "source"
        why = f"{names} built from source: {reach.in_words()}"
        yield from _programs([_BUILDS[_FROM_BUILD[name]] for name in lacking], host)
        paths |= {name: built(cache_dir, _BUILDS[_FROM_BUILD[name]]) / name for name in lacking}
    elif lacking:
        raise machine_error(
            "TOOLCHAIN_UNREACHABLE",
            f"{names} must be fetched, and nothing can be reached",
            detail=troubles,
            hints=("check the network and the proxy settings", f"install {names}", "todo-deploy doctor"),
        )
    elif reach is not None and not reach.registries:
        why += f"; {reach.in_words()}: Minikube can use only images that it already has"
    versions |= {name: _PINNED[name] for name in lacking}
    return _toolchain(way, why, paths, versions, host)


def from_source(reach: Reach) -> bool:
    """Whether the cluster's images must be made here, and can be."""
    return not reach.registries and reach.packages and operating_system() == "linux"


def _source(why: str, host: BuildHost, helm: Found | None = None) -> Steps[Toolchain]:
    """Everything is built but this helm, or one on PATH: the others belong together, whatever PATH has."""
    cache_dir, env = host.cache_dir, host.env
    helm = helm or look("helm", env)
    own_helm = helm is not None and not helm.unfit
    yield from _source_images(host, own_helm=own_helm)
    paths = {name: built(cache_dir, _BUILDS[_FROM_BUILD[name]]) / name for name in NAMES}
    versions = dict(_PINNED)
    if helm is not None and own_helm:
        paths["helm"], versions["helm"] = helm.path, helm.version
    return replace(
        _toolchain("source", why, paths, versions, host),
        node_image=node.node_ref(cache_dir, env),
        kubernetes_binaries=built(cache_dir, _BUILDS["kubernetes"]),
        offline_images=True,
    )


def _bundled(note: Mapping[str, Any], host: BuildHost) -> Steps[Toolchain]:
    """What a bundle brought; what is lacking of it nevertheless is made as on the machine that saved it."""
    folder = host.cache_dir / bundled_folder(note["key"])
    if note["way"] == "source":
        helm = Found(folder / "helm", note["versions"]["helm"], "") if (folder / "helm").is_file() else None
        return (yield from _source("from a bundle", host, helm))
    paths = {name: folder / name for name in NAMES}
    return _toolchain(note["way"], "from a bundle", paths, note["versions"], host)


def _is_usable(note: Mapping[str, Any], cache_dir: Path) -> bool:
    folder = cache_dir / bundled_folder(note["key"])
    return note["way"] == "source" or all((folder / name).is_file() for name in NAMES)


def _source_images(host: BuildHost, *, own_helm: bool) -> Steps[None]:
    """All programs are built while the images' operating systems and packages are installed; then the images."""

    def systems() -> Steps[None]:
        yield from ensure_base(host)
        yield from node.ensure_systems(host)
        yield from make_replacements(host)

    yield from _programs(_builds(own_helm=own_helm), host, {"systems": systems})
    yield from node.ensure_cluster_images(host)


def _has_source_images(host: BuildHost, *, own_helm: bool) -> bool:
    """Whether all that `_source_images` makes is there, but for replacements of base images."""
    recipes = (*node.systems(host.env), *node.of_programs(host.cache_dir, host.env))
    made = all(built(host.cache_dir, build).is_dir() for build in _builds(own_helm=own_helm))
    return made and has_base(host) and are_current(host, recipes)


def _builds(*, own_helm: bool) -> list[Build]:
    return [*(build for build in BUILDS if build.name != "helm" or not own_helm), RUNC_FIT]


def _programs(
    builds: list[Build], host: BuildHost, beside: Mapping[str, Callable[[], Steps[None]]] = MappingProxyType({})
) -> Steps[None]:
    cache_dir, env, bodies = host.cache_dir, host.env, dict(beside)
    missing = [build for build in builds if not built(cache_dir, build).is_dir()]
    if missing:
        go = yield from ensure_go(cache_dir, env)
        bodies["modules"] = lambda: ensure_modules(cache_dir, go, missing, env)
        bodies["programs"] = lambda: ensure_built(cache_dir, go, missing, env)
    yield from merge(bodies, limit=max(1, len(bodies)))


def _toolchain(
    way: Way, why: str, paths: Mapping[str, Path], versions: Mapping[str, str], host: BuildHost
) -> Toolchain:
    """The programs, with images that Minikube pulls by itself."""
    return Toolchain(
        way=way,
        why=why,
        minikube=paths["minikube"],
        helm=paths["helm"],
        kubectl=paths["kubectl"],
        docker=host.docker,
        bin=host.cache_dir / "toolchain" / "bin",
        versions=versions,
        kubernetes_version=KUBERNETES,
        node_image=None,
        kubernetes_binaries=None,
        offline_images=False,
    )


def _trouble(name: str, found: Found | None) -> str:
    return f"{name} is not on PATH" if found is None else f"{name} {found.version} {found.unfit}".replace("  ", " ")
