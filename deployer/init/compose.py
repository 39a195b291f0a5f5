"""The draft that follows from what was found and answered, each line with the reason for it.

What the files do not say is a `Question` with a default. A default that was taken without asking is marked as guessed.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from deployer.config.releases import BUILTIN
from deployer.core.image_ref import parse_ref
from deployer.core.reading import read_text
from deployer.core.redact import ACCOUNT_NAME
from deployer.core.values import mapped, overlaid, set_over
from deployer.init import match
from deployer.init.model import (
    Answers,
    Draft,
    Exposed,
    FoundDockerfile,
    Question,
    Reading,
    Repository,
    SecretNeed,
    Service,
    dashed,
)
from deployer.init.read import REPLACED, age
from deployer.preflight.rules.capacity import quantity

NOBODY = "none"
_GENERATED = re.compile(r"password|passwd|session|jwt|signing|encryption|auth_?secret|secret_?key", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"^(|<.*>|change[-_ ]?me.*|your[-_ ].*|xxx+|todo|example|placeholder)$", re.IGNORECASE)
_MARK = "guessed"
# Words of charts that stand beside an application's own.
_ASIDE = frozenset({
    "argo", "argocd", "demo", "e2e", "example", "examples", "fixtures", "flux", "gitops", "grafana", "loki",
    "monitoring", "observability", "prometheus", "sample", "samples", "test", "testdata", "tests", "tracing",
})  # fmt: skip
_BY_OTHERS = frozenset(
    {"Application", "ApplicationSet", "AppProject", "HelmRelease", "Kustomization", "ServiceMonitor"}
)
# Build arguments that BuildKit or the proxy's settings give.
_AUTOMATIC = re.compile(r"(TARGET|BUILD)(PLATFORM|OS|ARCH|VARIANT)|(HTTPS?|FTP|NO|ALL)_PROXY", re.IGNORECASE)
_IGNORED = (".env", ".env.*", ".git", "todo-deploy*.yaml", "todo-deploy*.lock")
_FROM_ENV = "app-secrets"
_CLAIM, _FILES, _HIDDEN = "volumes", "files", "secrets"
_KEY = re.compile(r"[^A-Za-z0-9._-]")
# Compose has no limits; a limit is no request, and one that is too low ends what runs.
_SIZE = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "2", "memory": "2Gi"}}

Place = tuple[str, ...]


@dataclass
class _Sheet:
    """The draft while it is being made; what was asked is noted with it."""

    answers: Answers
    document: dict[str, Any] = field(default_factory=dict)
    comments: dict[Place, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    ignore: dict[str, Sequence[str]] = field(default_factory=dict)

    def put(self, place: Place, value: Any, comment: str = "") -> None:
        """The value is at the place."""
        at = self.document
        for key in place[:-1]:
            at = at.setdefault(key, {})
        at[place[-1]] = value
        if comment:
            self.comments[place] = comment

    def ask(self, question: Question) -> tuple[str, str]:
        """The answer or the default, and the mark that says which."""
        self.questions.append(question)
        if question.key in self.answers:
            return self.answers[question.key], ""
        return question.default, f"{_MARK}: "


def questions(repo: Repository, readings: Sequence[Reading], answers: Answers) -> tuple[Question, ...]:
    """What is still to be asked after these answers; an answer may lead to further questions."""
    return tuple(one for one in _sheet(repo, readings, answers).questions if one.key not in answers)


def compose(repo: Repository, readings: Sequence[Reading], answers: Answers) -> Draft:
    """The draft under these answers, with defaults for those that were not given."""
    sheet = _sheet(repo, readings, answers)
    return Draft(sheet.document, sheet.comments, tuple(dict.fromkeys(sheet.remarks)), sheet.ignore)


def _sheet(repo: Repository, readings: Sequence[Reading], answers: Answers) -> _Sheet:
    sheet = _Sheet(answers)
    default = _plain(repo.root.name)
    name, mark = sheet.ask(Question("application", "Name of the application", default))
    chosen = tuple(_with_secrets(sheet, repo, one) for one in _chosen(sheet, repo, readings))
    sheet.put(("apiVersion",), "todo-deploy/v1")
    sheet.put(("application",), name, f"{mark}the folder's name" if mark else "")
    spaces = {space for reading in chosen for space in reading.namespaces}
    own = len(spaces) != 1
    why = (
        "a namespace of its own: `down` leaves nothing in other namespaces" if own else "what the charts' objects name"
    )
    sheet.put(("namespace",), name if own else next(iter(spaces)), why)
    if repo.env_example not in (None, ".env.example"):
        sheet.put(("env", "example"), repo.env_example, "`up` makes .env from it when there is none")
    elif repo.env_example is None and not repo.has_env:
        sheet.put(("env", "example"), None, "no example of an env file was found")
    if repo.expands and repo.services:
        sheet.put(("env", "expand"), True, "its values refer to each other; `$$` is a `$` in this file")
    served = _served(sheet, chosen)
    if chosen and not served:
        sheet.remarks.append("no Service can be reached from this machine, so that no URL proves the application")
    if any(one.host for _, one in served):
        sheet.put(("cluster", "addons"), ["ingress"], f"{_MARK}: an Ingress needs a controller")
    makers = _makers(sheet, repo, chosen)
    if not repo.services:
        _images(sheet, repo, chosen, makers)
    _secrets(sheet, repo, chosen)
    for reading in chosen:
        _release(sheet, reading, makers, [one for by, one in served if by is reading])
        needs = [one.release for one in chosen if one.chart.defines & reading.kinds and one is not reading]
        if needs and not reading.chart.defines & reading.kinds:
            sheet.put(
                ("releases", reading.release, "needs"), needs, "what defines the kinds of its objects comes first"
            )
    if repo.services:
        _services(sheet, repo)
    elif not chosen:
        sheet.put(("releases",), {}, "no Helm chart was found: a spec needs at least one release")
    _urls(sheet, served)
    if "expand" in sheet.document.get("env", {}):
        _double_dollars(sheet.document)
    return sheet


def _double_dollars(document: dict[str, Any]) -> None:
    """Texts of build arguments and values are themselves where `env.expand` fills references in."""
    for part, key in (("images", "args"), ("releases", "values")):
        for one in document.get(part, {}).values():
            if key in one:
                one[key] = mapped(one[key], lambda text, _: text.replace("$", "$$"))


def _services(sheet: _Sheet, repo: Repository) -> None:
    """Each service as a release of the tool's own chart."""
    taken: set[str] = set()
    named = {key for one in repo.services for key in (*one.keys.values(), *(file.volume for file in one.hidden))}
    made = {key for one in repo.services for key in one.generated if not repo.env_keys.get(key)}
    whole = repo.env_keys if any(one.whole for one in repo.services) else ()
    for one in repo.services:
        sheet.remarks += one.remarks
        if one.dockerfile is not None and one.dockerfile.name not in taken:
            taken.add(one.dockerfile.name)
            _service_image(sheet, repo, one, one.dockerfile)
    for key in sorted({*named, *whole}, key=[*repo.env_keys, *sorted(named)].index):
        place = ("secrets", _FROM_ENV, "keys", key)
        if key in made:
            sheet.put(place, {"kind": "generated"}, f"{_MARK}: the Compose file has its text, which is not taken over")
        else:
            _key(sheet, repo, place, _FROM_ENV, required=True, named=key in named)
    by_name = {one.name: one for one in repo.services}
    jobs = {name: by_name[name] for one in repo.services for name in one.after if name in by_name}
    shared = _Shared.of([one for one in repo.services if one.name not in jobs])
    for one in repo.services:
        if one.name not in jobs:
            _service(sheet, repo, one, shared)
            for number, job in enumerate(_jobs_before(one, jobs)):
                _first(sheet, repo, one, job, number)
    for one in repo.services:
        if one.web is not None:
            path = one.health if one.probe.get("httpGet", {}).get("port", one.web) == one.web else ""
            _url(sheet, Exposed(one.name, one.web if one.web != one.port or one.others else None, None, path))


def _jobs_before(one: Service, jobs: Mapping[str, Service]) -> tuple[Service, ...]:
    """What must have ended before the service starts, and before each of these, in an order in which each can run."""
    found: dict[str, Service] = {}
    wanted: set[str] = set()

    def want(names: Sequence[str]) -> None:
        for name in names:
            if name in jobs and name not in wanted:
                wanted.add(name)
                want(jobs[name].after)

    def run(names: Sequence[str], above: tuple[str, ...] = ()) -> None:
        for name in names:
            if name in wanted and name not in found and name not in above:
                run((*jobs[name].needs, *jobs[name].after), (*above, name))
                found[name] = jobs[name]

    want(one.after)
    run(one.after)
    return tuple(found.values())


def _service_image(sheet: _Sheet, repo: Repository, one: Service, dockerfile: FoundDockerfile) -> None:
    place = ("images", dockerfile.name)
    sheet.put((*place, "repository"), f"{sheet.document['application']}-{dockerfile.name}")
    sheet.put((*place, "version"), "0.1.0", f"{_MARK}: nothing says one")
    _context(sheet, repo, dockerfile, place)
    for argument, base in dockerfile.bases.items():
        if argument not in dockerfile.given:
            sheet.put((*place, "bases", argument), base, "replaced where no registry can be reached")
    _arguments(sheet, dockerfile, place)
    for secret, key in one.build_secrets.items():
        sheet.put((*place, "secrets", secret), key)


@dataclass(frozen=True)
class _Shared:
    """The one claim of services that share volumes or have several; each volume is a folder of it."""

    owner: str = ""
    users: frozenset[str] = frozenset()

    @classmethod
    def of(cls, services: Sequence[Service]) -> _Shared:
        """The claim that these services need; its owner needs no other user."""
        uses = Counter(mount.volume for one in services for mount in one.volumes)
        users = [
            one for one in services if len(one.volumes) > 1 or any(uses[mount.volume] > 1 for mount in one.volumes)
        ]
        names = frozenset(one.name for one in users)
        return cls(next((one.name for one in users if not names & set(one.needs)), ""), names)


def _volumes(one: Service, shared: _Shared) -> dict[str, Any]:
    """The values that mount the service's volumes."""
    if one.name not in shared.users:
        mount = one.volumes[0]
        return {"kind": "StatefulSet", "persistence": {"enabled": True, "mountPath": mount.path}}
    mounts = [{"name": _CLAIM, "mountPath": mount.path, "subPath": mount.volume, "readOnly": mount.read_only}
              for mount in one.volumes]  # fmt: skip
    if one.name == shared.owner:
        claim: dict[str, Any] = {"persistence": {"enabled": True, "name": _CLAIM, "mountPath": f"/mnt/{_CLAIM}"}}
    else:
        claim = {"extraVolumes": [{"name": _CLAIM, "persistentVolumeClaim": {"claimName": _CLAIM}}]}
    return {**claim, "extraVolumeMounts": mounts}


def _files(root: Path, one: Service) -> dict[str, Any]:
    """The values that mount the service's files: a ConfigMap has their texts, and is a volume for each folder."""
    keys = [_KEY.sub("-", PurePosixPath(mount.volume).name) for mount in one.files]
    keys = [f"{number}-{key}" if keys.index(key) < number else key for number, key in enumerate(keys)]
    texts = [mount.text if mount.text is not None else read_text(root / mount.volume) for mount in one.files]
    name = f"{one.name}-{_FILES}"
    source: dict[str, Any] = {"name": name}
    if any(os.access(root / mount.volume, os.X_OK) for mount in one.files):
        source["defaultMode"] = 0o755
    volumes, mounts = [], []
    if any(not mount.folder for mount in one.files):
        volumes.append({"name": _FILES, "configMap": source})
    for number, folder in enumerate(dict.fromkeys(mount.folder for mount in one.files if mount.folder)):
        items = [{"key": key, "path": mount.path} for mount, key in zip(one.files, keys, strict=True)
                 if mount.folder == folder]  # fmt: skip
        volumes.append({"name": f"{_FILES}-{number}", "configMap": {**source, "items": items}})
        mounts.append({"name": f"{_FILES}-{number}", "mountPath": folder, "readOnly": True})
    mounts += [{"name": _FILES, "mountPath": mount.path, "subPath": key, "readOnly": True}
               for mount, key in zip(one.files, keys, strict=True) if not mount.folder]  # fmt: skip
    return {
        "config": {"enabled": True, "name": name, "envFrom": False, "data": dict(zip(keys, texts, strict=True))},
        "extraVolumes": volumes,
        "extraVolumeMounts": mounts,
    }


def _hidden(one: Service) -> dict[str, Any]:
    """The values that mount the service's secrets as files."""
    keys = list(dict.fromkeys(mount.volume for mount in one.hidden))
    return {
        "extraVolumes": [{"name": _HIDDEN, "secret": {"secretName": _FROM_ENV,
                                                      "items": [{"key": key, "path": key} for key in keys]}}],
        "extraVolumeMounts": [{"name": _HIDDEN, "mountPath": mount.path, "subPath": mount.volume, "readOnly": True}
                              for mount in one.hidden],
    }  # fmt: skip


def _network(one: Service) -> dict[str, Any]:
    """The values of the service's ports."""
    others = [{"name": f"{port.protocol.lower()}-{port.number}", "port": port.number, "protocol": port.protocol}
              for port in one.others]  # fmt: skip
    service: dict[str, Any] = {"type": "NodePort"} if one.web is not None else {}
    service |= {"extraPorts": others} if others else {}
    if one.port is None and not others:
        service = {"enabled": False}
    return {"port": one.port, **({"service": service} if service else {})}


def _image_of(one: Service) -> dict[str, str]:
    """The image that others make: under its tag, or as it is written where a tag does not say which one it is."""
    ref = parse_ref(one.image)
    plain = ref.tag not in ("", "latest") and not ref.digest
    return {"repository": ref.name, "tag": ref.tag} if plain else {"ref": one.image.rstrip(":")}


def _service(sheet: _Sheet, repo: Repository, one: Service, shared: _Shared) -> None:
    place = ("releases", one.name)
    sheet.put((*place, "chart"), BUILTIN)
    values = _network(one)
    # The chart's own user, read-only files and /tmp are for images that are made for them.
    values |= {"podSecurityContext": {"runAsNonRoot": False, "runAsUser": None}}
    values |= {"containerSecurityContext": {"readOnlyRootFilesystem": False, "allowPrivilegeEscalation": None,
                                            "capabilities": None}}  # fmt: skip
    values |= {"tmp": {"enabled": False}}
    if one.probe:
        values |= {"probes": {"readiness": dict(one.probe)}}
    elif one.port is not None:
        probe = {"httpGet": {"path": one.health, "port": one.port}} if one.health else {"tcpSocket": {"port": one.port}}
        values |= {"probes": {"readiness": probe}}
    values |= {"resources": _resources(one)}
    if not one.values.get("resources"):
        sheet.comments[(*place, "values", "resources")] = f"{_MARK}: nothing says how much it needs"
    values |= {"command": list(one.entrypoint)} if one.entrypoint else {}
    values |= {"args": list(one.command)} if one.command else {}
    values |= {"env": dict(one.env)} if one.env else {}
    if one.keys:
        values["secretEnv"] = {name: {"secret": _FROM_ENV, "key": key} for name, key in one.keys.items()}
    if one.whole and repo.env_keys:
        values["envFromSecrets"] = [_FROM_ENV]
    made = [_volumes(one, shared)] if one.volumes else []
    made += [_files(repo.root, one)] if one.files else []
    made += [_hidden(one)] if one.hidden else []
    made += [{key: value for key, value in one.values.items() if key != "resources"}]
    for some in made:
        lists = {key: [*values.get(key, ()), *more] for key, more in some.items() if isinstance(more, list)}
        values = {**overlaid(values, some), **lists}
    if one.files:
        of = ", ".join(mount.volume for mount in one.files)
        sheet.comments[(*place, "values", "config")] = f"the text of {of}, which is mounted: from now on it is here"
    if one.dockerfile is None:
        values["image"] = _image_of(one)
    sheet.put((*place, "values"), values)
    if one.dockerfile is not None:
        name = one.dockerfile.name
        sheet.put((*place, "images", name), {"image.repository": "{repository}", "image.tag": "{tag}"})
    if paths := _secret_paths(values):
        sheet.put((*place, "secrets", _FROM_ENV), paths)
    if needs := _needs(one, repo):
        sheet.put((*place, "needs"), needs)


def _resources(one: Service) -> dict[str, Any]:
    """What the service says it needs, over what is guessed; no request is above a limit."""
    given = one.values.get("resources") or {}
    made = overlaid(_SIZE, given)
    for kind, most in (given.get("limits") or {}).items():
        if kind not in (given.get("requests") or {}) and quantity(most) < quantity(made["requests"][kind]):
            made["requests"][kind] = most
    for kind, least in (given.get("requests") or {}).items():
        if kind not in (given.get("limits") or {}) and quantity(least) > quantity(made["limits"][kind]):
            made["limits"][kind] = least
    return made


def _secret_paths(values: Mapping[str, Any]) -> dict[str, str]:
    """Where the values want the name of the Secret, and checksums of its keys."""
    paths: dict[str, str] = {}
    if "secretEnv" in values or "envFromSecrets" in values:
        paths = {f"global.secretNames.{_FROM_ENV}": "{name}", f"global.secretChecksums.{_FROM_ENV}": "{checksums}"}
    return paths | {f"extraVolumes[{at}].secret.secretName": "{name}"
                    for at, volume in enumerate(values.get("extraVolumes") or ()) if "secret" in volume}  # fmt: skip


def _needs(one: Service, repo: Repository) -> list[str]:
    """The releases that the service needs, and those that what ends before it needs."""
    names = {name for service in repo.services for name in service.after}
    jobs = {service.name: service for service in repo.services if service.name in names}
    first = [need for job in _jobs_before(one, jobs) for need in job.needs]
    return [name for name in dict.fromkeys([*one.needs, *first]) if name not in names]


def _first(sheet: _Sheet, repo: Repository, one: Service, job: Service, number: int) -> None:
    """What must have ended before the service starts runs in its pods, as an init container."""
    place, path = ("releases", one.name), f"initContainers[{number}]"
    names = [f"{path}.env[{at}].valueFrom.secretKeyRef.name" for at in range(len(job.keys))]
    env: list[dict[str, Any]] = [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": _FROM_ENV, "key": key}}} for name, key in job.keys.items()
    ]
    made: dict[str, Any] = {"name": job.name, "image": job.image or job.name, "resources": deepcopy(_SIZE)}
    made |= {"command": list(job.entrypoint)} if job.entrypoint else {}
    made |= {"args": list(job.command)} if job.command else {}
    made |= {"env": [*env, *({"name": name, "value": text} for name, text in job.env.items())]}
    if job.whole and repo.env_keys:
        made["envFrom"] = [{"secretRef": {"name": _FROM_ENV}}]
        names.append(f"{path}.envFrom[0].secretRef.name")
    sheet.remarks += [
        f"{job.name}: {mount.volume} is not mounted at {mount.path}" for mount in (*job.files, *job.volumes)
    ]
    release = sheet.document["releases"][one.name]
    release["values"].setdefault("initContainers", []).append(made)
    if job.dockerfile is not None:
        sheet.put((*place, "images", job.dockerfile.name, f"{path}.image"), "{ref}")
    for name in names:
        sheet.put((*place, "secrets", _FROM_ENV, name), "{name}")


def _chosen(sheet: _Sheet, repo: Repository, readings: Sequence[Reading]) -> Sequence[Reading]:
    """The charts to deploy. Each is asked about where there are several; a broken or empty one is left out."""
    for error in repo.broken:
        problem = error.problems[0]
        where = problem.where.removeprefix(f"{repo.root}/")
        sheet.remarks.append(f"{where}: left out, for it is no chart ({problem.detail or problem.title})")
    left = [one for one in readings if one.kinds and not one.problem] or list(readings)
    for one in (other for other in readings if other not in left):
        why = f"it does not render: {_why(one)}" if one.problem else "it makes nothing"
        sheet.remarks.append(f"{one.chart.path}: left out, for {why}")
    makers = match.makers(left, repo.dockerfiles)
    made = {release for release, _ in makers}
    chosen = []
    for one in left if len(left) > 1 else ():
        why = _why_aside(one, left, is_made=one.release in made)
        text = f"Deploy the chart {one.chart.path}{f' ({why})' if why else ''}?"
        question = Question(f"chart:{one.chart.path}", text, "no" if why else "yes", ("yes", "no"))
        answer, mark = sheet.ask(question)
        if answer == "yes":
            chosen.append(one)
        elif mark:
            sheet.remarks.append(f"{mark}chart {one.chart.path} is left out, for {why}")
    return chosen or left


def _why(reading: Reading) -> str:
    """The last line of what helm said of the chart, without its advice."""
    lines = [line for line in reading.problem.splitlines() if line.strip() and "--debug" not in line]
    return lines[-1].strip()[:200] if lines else reading.problem


def _why_aside(one: Reading, others: Sequence[Reading], *, is_made: bool) -> str:
    """Why the chart seems to be no part of the application; empty where it is one."""
    words = set(re.split(r"[^a-z0-9]+", f"{one.chart.path} {one.chart.name}".lower()))
    plain = _current(one)
    for other in others:
        if other is not one and plain == _current(other) and age(one.chart.path) > age(other.chart.path):
            return f"it seems to be another state of {other.chart.path}"
    if one.kinds & _BY_OTHERS and not one.slots:
        return "what it makes is for controllers that the cluster does not have"
    if words & _ASIDE and not is_made:
        return "it seems to be no part of the application"
    return ""


def _current(one: Reading) -> tuple[str, frozenset[str]]:
    """The chart's name without words that say how old it is, and its images without their tags."""
    words = [word for word in re.split(r"[^a-z0-9]+", one.chart.name.lower()) if word not in REPLACED]
    return "-".join(words), frozenset(parse_ref(slot.image).last for slot in one.slots)


def _with_secrets(sheet: _Sheet, repo: Repository, reading: Reading) -> Reading:
    """The reading without the Secrets that its chart makes itself or can do without, unless the env file has all that
    they need."""
    kept = []
    for need in reading.secrets:
        given = need.keys and all(_source(key, repo) in repo.env_keys for key in need.keys)
        if given or not (need.made or need.more) or (need.more and need.whole and repo.env_keys):
            kept.append(need)
            continue
        paths = ", ".join(need.paths)
        what = f"Secret {need.name} is the chart's own; {paths} would name another"
        sheet.remarks.append(f"{reading.chart.path}: {what if need.made else f'{paths} would name a Secret'}")
    return replace(reading, secrets=tuple(kept))


def _makers(sheet: _Sheet, repo: Repository, readings: Sequence[Reading]) -> match.Makers:
    made: match.Makers = {}
    by_name = {one.name: one for one in repo.dockerfiles}
    likely = match.makers(readings, repo.dockerfiles)
    for reading in readings:
        for number, slot in enumerate(reading.slots):
            found, certain = likely.get((reading.release, number), (None, not slot.values or not repo.dockerfiles))
            mark = ""
            if not certain:
                default = found.name if found is not None else NOBODY
                text = f"Which Dockerfile makes the image of {', '.join(slot.users)} (`{slot.image or 'no default'}`)?"
                key = f"image:{reading.release}:{number}"
                answer, mark = sheet.ask(Question(key, text, default, (*by_name, NOBODY)))
                found = by_name.get(answer)
            if found is not None:
                made[(reading.release, number)] = (found, not mark)
    return made


def _images(sheet: _Sheet, repo: Repository, readings: Sequence[Reading], makers: match.Makers) -> None:
    taken: list[str] = []
    used = {one.path for one, _ in makers.values()}
    unused = dict.fromkeys(one.path for one in repo.dockerfiles if one.path not in used)
    sheet.remarks += [f"{path}: no chart was found that uses its image" for path in unused]
    for dockerfile in repo.dockerfiles:
        uses = [(reading, slot, makers[reading.release, number][1]) for reading in readings
                for number, slot in enumerate(reading.slots)
                if makers.get((reading.release, number), (None, False))[0] == dockerfile]  # fmt: skip
        if not uses:
            continue
        reading, slot, _ = min(uses, key=lambda one: not one[1].repository)
        place = ("images", dockerfile.name)
        users = ", ".join(dict.fromkeys(user for _, one, _ in uses for user in one.users))
        repository = match.repository(slot, dockerfile, taken)
        taken.append(repository)
        sheet.put((*place, "repository"), repository)
        version, known = match.version(slot, reading.chart.app_version)
        sheet.put((*place, "version"), version, "" if known else f"{_MARK}: neither chart nor tag says one")
        _context(sheet, repo, dockerfile, place)
        for argument, base in dockerfile.bases.items():
            sheet.put((*place, "bases", argument), base, "replaced where no registry can be reached")
        _arguments(sheet, dockerfile, place)
        guess = "" if all(certain for _, _, certain in uses) else f"{_MARK}: "
        sheet.comments[place] = f"{guess}makes the image of {users}"


def _arguments(sheet: _Sheet, dockerfile: FoundDockerfile, place: Place) -> None:
    if dockerfile.target:
        sheet.put((*place, "target"), dockerfile.target)
    for argument, default in dockerfile.args.items():
        if argument in dockerfile.given:
            sheet.put((*place, "args", argument), dockerfile.given[argument])
        elif not default and not _AUTOMATIC.fullmatch(argument):
            key, text = f"arg:{dockerfile.name}:{argument}", f"Build argument {argument} of {dockerfile.path}"
            value, mark = sheet.ask(Question(key, text, ""))
            if value:
                sheet.put((*place, "args", argument), value)
            elif mark:
                sheet.remarks.append(f"{dockerfile.path}: build argument {argument} has no default and is left empty")


def _context(sheet: _Sheet, repo: Repository, dockerfile: FoundDockerfile, place: Place) -> None:
    context, comment = dockerfile.context, ""
    if not dockerfile.sure:
        question = Question(f"context:{dockerfile.name}", f"Build context of {dockerfile.path}", context)
        context, mark = sheet.ask(question)
        comment = f"{mark}what it copies was not found for certain" if mark else ""
    sheet.put((*place, "context"), context, comment)
    usual = "Dockerfile" if context == "." else f"{context}/Dockerfile"
    if dockerfile.path != usual:
        sheet.put((*place, "dockerfile"), dockerfile.path)
    # The env file is beside the spec: only a context that is this folder can hold it.
    ignores = (repo.root / ".dockerignore", repo.root / f"{dockerfile.path}.dockerignore")
    if context == "." and dockerfile.copies_all and not any(one.is_file() for one in ignores):
        example = (f"!{repo.env_example}",) if repo.env_example else ()
        sheet.ignore["."] = [*_IGNORED, *(one.path for one in repo.charts), *example]


def _secrets(sheet: _Sheet, repo: Repository, readings: Sequence[Reading]) -> None:
    needs: dict[str, list[SecretNeed]] = {}
    for reading in readings:
        for need in reading.secrets:
            needs.setdefault(need.name, []).append(need)
    named = {key for known in needs.values() for need in known for key in need.keys}
    for name, known in needs.items():
        place = ("secrets", name)
        if not all(need.paths for need in known):
            sheet.put((*place, "naming"), "stable", "a template uses exactly this name")
        keys: dict[str, bool] = {}
        for need in known:
            keys |= {key: required or keys.get(key, False) for key, required in need.keys.items()}
        if any(need.whole for need in known):
            others = [key for key in repo.env_keys if _source(key, repo) not in {_source(one, repo) for one in named}]
            question = Question(f"keys:{name}", f"Keys of Secret {name}, with commas", ",".join([*keys, *others]))
            answer, mark = sheet.ask(question)
            keys = {key: keys.get(key, False) for key in filter(None, (one.strip() for one in answer.split(",")))}
            sheet.comments[place] = f"{mark}pods take all of it; these are the keys of the env file" if mark else ""
        for key, required in keys.items():
            _key(sheet, repo, (*place, "keys", key), name, required=required)
        if not keys:
            sheet.put((*place, "keys"), {"VALUE": {"kind": "optional"}}, f"{_MARK}: which keys it has is not known")


def _key(sheet: _Sheet, repo: Repository, place: Place, secret: str, *, required: bool, named: bool = True) -> None:
    """A key of a Secret; one that nothing names, and that pods get with all others, may be empty."""
    key = place[-1]
    source = _source(key, repo)
    value = {"from": source} if source != key else {}
    comment = ""
    if not required:
        value["kind"] = "optional"
    elif _PLACEHOLDER.match(repo.env_keys.get(source, "")):
        may_lack = not named or ACCOUNT_NAME.search(source)
        default = "generated" if _GENERATED.search(source) else "optional" if may_lack else "required"
        text = f"{source} (key {key} of Secret {secret}): required in .env, generated, or optional?"
        kind, mark = sheet.ask(Question(f"kind:{secret}:{key}", text, default, ("required", "generated", "optional")))
        value |= {"kind": kind} if kind != "required" else {}
        value |= {"default": str(sheet.document["application"])} if ACCOUNT_NAME.search(source) and mark else {}
        comment = f"{mark}no env file has a value for it" if mark else ""
    sheet.put(place, value, comment)


def _source(key: str, repo: Repository) -> str:
    """The env file's name for the key: its own, one that ends like it, or itself in capitals."""
    if key in repo.env_keys:
        return key
    plain = re.sub(r"[^A-Za-z0-9]+", "_", key).upper()
    if plain in repo.env_keys:
        return plain
    last = plain.rpartition("_")[2]
    near = [one for one in repo.env_keys if one.upper().endswith(f"_{last}")]
    return near[0] if len(near) == 1 else plain if plain[:1].isalpha() else f"KEY_{plain}"


def _release(sheet: _Sheet, reading: Reading, makers: match.Makers, served: Sequence[Exposed]) -> None:
    place = ("releases", reading.release)
    sheet.put((*place, "chart"), reading.chart.path)
    if reading.problem:
        what = "its images, Secrets and Services are not known: it was not rendered"
        sheet.comments[place] = f"{what} ({_why(reading)})"
        return
    for number, slot in enumerate(reading.slots):
        maker, certain = makers.get((reading.release, number), (None, True))
        users = ", ".join(slot.users)
        if maker is None:
            why = "is left as the chart has it" if slot.values else "is written in a template"
            sheet.remarks.append(f"{users}: image `{slot.image}` {why}")
            continue
        for path, template in {**slot.fixed, **slot.values}.items():
            sheet.put((*place, "images", maker.name, path), template)
        sheet.comments[(*place, "images", maker.name)] = f"{'' if certain else f'{_MARK}: '}image of {users}"
    for need in reading.secrets:
        sheet.put((*place, "secrets", need.name), dict.fromkeys(need.paths, "{name}"))
    values: dict[str, Any] = {}
    for one in served:
        if one.type_path and not one.host:
            set_over(values, one.type_path, "NodePort", reading.chart.values)
            sheet.comments[(*place, "values")] = f"so that {one.service} is reached from this machine"
    if values:
        sheet.put((*place, "values"), values)


def _served(sheet: _Sheet, readings: Sequence[Reading]) -> tuple[tuple[Reading, Exposed], ...]:
    """What is to have a URL: hosts of Ingresses, Services that are exposed, and those that are to be."""
    found: list[tuple[Reading, Exposed]] = []
    for reading in readings:
        behind = set()
        for one in (other for other in reading.exposed if other.host):
            default = "yes" if one.ingress_class in ("", "nginx") else "no"
            text = f"Shall http://{one.host} be served, by an Ingress controller that the cluster gets?"
            if sheet.ask(Question(f"ingress:{one.host}", text, default, ("yes", "no")))[0] == "yes":
                found.append((reading, one))
                behind.add(one.service)
        services = [one for one in reading.exposed if not one.host]
        outside = any(one.web and not one.type_path for one in services)
        for one in services:
            if not one.type_path and not one.web:
                sheet.remarks.append(f"{one.service}: does not seem to speak HTTP, so no URL proves it")
            elif not one.type_path or (one.service not in behind and _is_opened(sheet, reading, one, outside=outside)):
                found.append((reading, one))
    return tuple(found)


def _is_opened(sheet: _Sheet, reading: Reading, one: Exposed, *, outside: bool) -> bool:
    """A Service that pods answer HTTP for is meant to be reached, unless the chart exposes another one already."""
    text = f"Shall Service {one.service} be reached from this machine?"
    default = "yes" if one.web and not outside else "no"
    return sheet.ask(Question(f"expose:{reading.release}:{one.service}", text, default, ("yes", "no")))[0] == "yes"


def _urls(sheet: _Sheet, served: Sequence[tuple[Reading, Exposed]]) -> None:
    for _, one in served:
        _url(sheet, one)


def _url(sheet: _Sheet, one: Exposed) -> None:
    name = _plain(one.host or one.service)
    place = ("urls", name)
    if one.host:
        sheet.put((*place, "ingressHost"), one.host)
    else:
        sheet.put((*place, "service"), one.service)
    if one.port is not None:
        sheet.put((*place, "port"), one.port)
    if one.node_port is not None:
        sheet.put((*place, "nodePort"), one.node_port)
    text = f"Path that proves {one.host or one.service} (and that a person opens)"
    path, mark = sheet.ask(Question(f"path:{name}", text, one.probe or "/"))
    comment = f"{mark}what its probe asks" if one.probe else f"{mark}nothing says which path answers"
    if path != "/":
        sheet.put((*place, "path"), path, comment if mark else "")
    elif mark and not one.probe:
        sheet.comments[place] = comment


def _plain(text: str) -> str:
    return dashed(text)[:53].strip("-") or "app"
