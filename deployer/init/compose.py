"""The draft that follows from what was found and answered, each line with the reason for it.

What the files do not say is a `Question` with a default. A default that was taken without asking is marked as guessed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from deployer.core.values import path_keys, value_at
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
    dashed,
)

NOBODY = "none"
_GENERATED = re.compile(r"password|passwd|session|jwt|signing|encryption|auth_?secret|secret_?key", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"^(|<.*>|change[-_ ]?me.*|your[-_ ].*|xxx+|todo|example|placeholder)$", re.IGNORECASE)
_MARK = "guessed"

Place = tuple[str, ...]


@dataclass
class _Sheet:
    """The draft while it is being made; what was asked is noted with it."""

    answers: Answers
    document: dict[str, Any] = field(default_factory=dict)
    comments: dict[Place, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)

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
    return Draft(sheet.document, sheet.comments, tuple(sheet.remarks))


def _sheet(repo: Repository, readings: Sequence[Reading], answers: Answers) -> _Sheet:
    sheet = _Sheet(answers)
    default = _plain(repo.root.name)
    name, mark = sheet.ask(Question("application", "Name of the application", default))
    sheet.put(("apiVersion",), "todo-deploy/v1")
    sheet.put(("application",), name, f"{mark}the folder's name" if mark else "")
    sheet.put(("namespace",), name, "a namespace of its own: `down` leaves nothing in other namespaces")
    if repo.env_example not in (None, ".env.example"):
        sheet.put(("env", "example"), repo.env_example, "`up` makes .env from it when there is none")
    elif repo.env_example is None and not repo.has_env:
        sheet.put(("env", "example"), None, "no example of an env file was found")
    makers = _makers(sheet, repo, readings)
    _images(sheet, repo, readings, makers)
    _secrets(sheet, repo, readings)
    for reading in readings:
        _release(sheet, reading, makers)
    if not readings:
        sheet.put(("releases",), {}, "no Helm chart was found: a spec needs at least one release")
    _urls(sheet, readings)
    return sheet


Makers = dict[tuple[str, int], FoundDockerfile]
"""Release and number of its image → the Dockerfile that makes it."""


def _makers(sheet: _Sheet, repo: Repository, readings: Sequence[Reading]) -> Makers:
    made: Makers = {}
    by_name = {one.name: one for one in repo.dockerfiles}
    for reading in readings:
        for number, slot in enumerate(reading.slots):
            found, certain = match.best(slot, repo.dockerfiles)
            if not certain:
                default = found.name if found is not None else NOBODY
                text = f"Which Dockerfile makes the image of {', '.join(slot.users)} (`{slot.image or 'no default'}`)?"
                key = f"image:{reading.release}:{number}"
                answer, _ = sheet.ask(Question(key, text, default, (*by_name, NOBODY)))
                found = by_name.get(answer)
            if found is not None:
                made[(reading.release, number)] = found
    return made


def _images(sheet: _Sheet, repo: Repository, readings: Sequence[Reading], makers: Makers) -> None:
    taken: list[str] = []
    for dockerfile in repo.dockerfiles:
        uses = [(reading, reading.slots[number]) for reading in readings for number in range(len(reading.slots))
                if makers.get((reading.release, number)) == dockerfile]  # fmt: skip
        if not uses:
            sheet.remarks.append(f"{dockerfile.path}: no chart was found that uses its image")
            continue
        reading, slot = uses[0]
        place = ("images", dockerfile.name)
        users = ", ".join(dict.fromkeys(user for _, one in uses for user in one.users))
        repository = match.repository(slot, dockerfile, taken)
        taken.append(repository)
        sheet.put((*place, "repository"), repository)
        version, known = match.version(slot, reading.chart.app_version)
        sheet.put((*place, "version"), version, "" if known else f"{_MARK}: neither chart nor tag says one")
        _context(sheet, dockerfile, place)
        for argument, base in dockerfile.bases.items():
            sheet.put((*place, "bases", argument), base, "replaced where no registry can be reached")
        for argument, default in dockerfile.args.items():
            if default:
                continue
            key, text = f"arg:{dockerfile.name}:{argument}", f"Build argument {argument} of {dockerfile.path}"
            value, mark = sheet.ask(Question(key, text, ""))
            if value:
                sheet.put((*place, "args", argument), value)
            elif mark:
                sheet.remarks.append(f"{dockerfile.path}: build argument {argument} has no default and is left empty")
        sheet.comments[place] = f"makes the image of {users}"


def _context(sheet: _Sheet, dockerfile: FoundDockerfile, place: Place) -> None:
    context, comment = dockerfile.context, ""
    if not dockerfile.sure:
        question = Question(f"context:{dockerfile.name}", f"Build context of {dockerfile.path}", context)
        context, mark = sheet.ask(question)
        comment = f"{mark}what it copies was not found for certain" if mark else ""
    sheet.put((*place, "context"), context, comment)
    usual = "Dockerfile" if context == "." else f"{context}/Dockerfile"
    if dockerfile.path != usual:
        sheet.put((*place, "dockerfile"), dockerfile.path)


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
            _key(sheet, repo, (*place, "keys", key), name, required)
        if not keys:
            sheet.put((*place, "keys"), {"VALUE": {}}, f"{_MARK}: which keys it has was not to be found")


def _key(sheet: _Sheet, repo: Repository, place: Place, secret: str, required: bool) -> None:
    key = place[-1]
    source = _source(key, repo)
    value = {"from": source} if source != key else {}
    comment = ""
    if not required:
        value["kind"] = "optional"
    elif _PLACEHOLDER.match(repo.env_keys.get(source, "")):
        default = "generated" if _GENERATED.search(source) else "required"
        text = f"{source} (key {key} of Secret {secret}): required in .env, generated, or optional?"
        kind, mark = sheet.ask(Question(f"kind:{secret}:{key}", text, default, ("required", "generated", "optional")))
        value |= {"kind": kind} if kind != "required" else {}
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


def _release(sheet: _Sheet, reading: Reading, makers: Makers) -> None:
    place = ("releases", reading.release)
    sheet.put((*place, "chart"), reading.chart.path)
    if reading.problem:
        why = reading.problem.splitlines()[-1][:200]
        sheet.comments[place] = f"its images, Secrets and Services are not known: it was not rendered ({why})"
        return
    for number, slot in enumerate(reading.slots):
        maker = makers.get((reading.release, number))
        users = ", ".join(slot.users)
        if maker is None:
            why = "is left as the chart has it" if slot.values else "is written in a template"
            sheet.remarks.append(f"{users}: image `{slot.image}` {why}")
            continue
        for path, text in slot.fixed.items():
            comment = "what is built here is found under this registry"
            sheet.put((*place, "values", *path_keys(path)), text, comment)
        for path, template in slot.values.items():
            sheet.put((*place, "images", maker.name, path), template)
        sheet.comments[(*place, "images", maker.name)] = f"image of {users}"
    for need in reading.secrets:
        sheet.put((*place, "secrets", need.name), dict.fromkeys(need.paths, "{name}"))
    for one in reading.exposed:
        if one.type_path and _is_opened(sheet, reading, one):
            comment = "so that it is reached from this machine"
            sheet.put((*place, "values", *path_keys(one.type_path)), "NodePort", comment)


def _is_opened(sheet: _Sheet, reading: Reading, one: Exposed) -> bool:
    """A Service that pods answer HTTP for is meant to be reached, unless the chart exposes another one already."""
    default = "yes" if one.probe and all(other.type_path for other in reading.exposed) else "no"
    text = f"Shall Service {one.service} be reached from this machine?"
    return sheet.ask(Question(f"expose:{reading.release}:{one.service}", text, default, ("yes", "no")))[0] == "yes"


def _urls(sheet: _Sheet, readings: Sequence[Reading]) -> None:
    for release, one in ((reading.release, one) for reading in readings for one in reading.exposed):
        if one.type_path and not _says_node_port(sheet, release, one.type_path):
            continue
        name = _plain(one.host or one.service)
        place = ("urls", name)
        if one.host:
            sheet.put((*place, "ingressHost"), one.host, "an Ingress; the cluster needs a controller for it")
            continue
        sheet.put((*place, "service"), one.service)
        if one.port is not None:
            sheet.put((*place, "port"), one.port)
        if one.node_port is not None:
            sheet.put((*place, "nodePort"), one.node_port)
        text = f"Path that proves {one.service} (and that a person opens)"
        path, mark = sheet.ask(Question(f"path:{name}", text, one.probe or "/"))
        comment = f"{mark}what its readiness probe asks" if one.probe else f"{mark}nothing says which path answers"
        if path != "/":
            sheet.put((*place, "path"), path, comment if mark else "")
        elif mark and not one.probe:
            sheet.comments[place] = comment


def _says_node_port(sheet: _Sheet, release: str, path: str) -> bool:
    return bool(value_at(sheet.document["releases"][release].get("values", {}), path) == "NodePort")


def _plain(text: str) -> str:
    return dashed(text)[:53].strip("-") or "app"
