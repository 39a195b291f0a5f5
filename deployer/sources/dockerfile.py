"""Dockerfiles as far as the tool reads them: base images, build arguments, ports, and other bases in their place.

The grammar is that of docs.docker.com/reference/dockerfile: continued lines, here-documents, arguments before the
first `FROM`, stages by name or number.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from itertools import dropwhile
from platform import machine

_INSTRUCTION = re.compile(r"\s*([A-Za-z]+)\s+(.*)", re.DOTALL)
# The words of a shell; of them, those that begin a here-document, with or without quotes around its end.
_WORD = re.compile(r"(?:[^\s\"'\\]|\\.|\"(?:\\.|[^\"\\])*\"|'[^']*')+", re.DOTALL)
_HEREDOC = re.compile(r"\d*<<(-?)([\"']?)([^<\"'\s]+)\2")
_ALONE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::?[-+][^}]*)?\})")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?:\}|(:?[-+?]|##?|%%?|//?)))")
_DIRECTIVE = re.compile(r"#\s*([a-zA-Z]\w*)\s*=\s*(\S.*)")
# Only a line feed ends a line: comments may have other separators of Unicode.
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
# The frontend that BuildKit has built in, in some version.
_FRONTEND = re.compile(r"(?:docker\.io/)?docker/dockerfile(?:-upstream)?(?::[\w.-]+)?(?:@sha256:\w+)?")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: its word in capitals, the rest without continuations, and its lines (from 0, both included)."""

    word: str
    rest: str
    first: int
    last: int

    @property
    def words(self) -> list[str]:
        """What the rest says, without options."""
        return [word for word in self.rest.split() if not word.startswith("--")]


@dataclass(frozen=True, slots=True)
class BaseImage:
    """An image from outside that a stage is made from or copies from; `argument` where one alone names it."""

    ref: str
    written: str
    first: int
    last: int
    argument: str = ""


def instructions(text: str) -> tuple[Instruction, ...]:
    """The instructions in their order; comments and what a here-document holds are none."""
    lines = _read_lines(text)
    mark = _escape(text)
    goes_on = re.compile(rf"(?:^|(?<!{re.escape(mark)})){re.escape(mark)}[ \t]*$")
    found = []
    at = 0
    while at < len(lines):
        if not lines[at].strip() or lines[at].lstrip().startswith("#"):
            at += 1
            continue
        first, last, words = at, at, ""
        while at < len(lines):
            line = lines[at]
            at += 1
            # Comments and empty lines between continued ones are passed over.
            if at - 1 > first and (not line.strip() or line.lstrip().startswith("#")):
                continue
            last, more = at - 1, goes_on.search(line)
            words += line[: more.start()] if more is not None else line
            if more is None:
                break
        match = _INSTRUCTION.match(words.rstrip())
        if match is None:
            continue
        for dash, _, end in _heredocs(match[1].upper(), match[2]):
            while at < len(lines) and (lines[at].lstrip("\t") if dash else lines[at]) != end:
                at += 1
            last, at = min(at, len(lines) - 1), at + 1
        found.append(Instruction(match[1].upper(), match[2].strip(), first, last))
    return tuple(found)


def lines_of(text: str) -> list[str]:
    """The lines of a Dockerfile with their ends."""
    return _LINE.findall(text)


def _read_lines(text: str) -> list[str]:
    return [line.rstrip("\r\n") for line in lines_of(text.removeprefix("\ufeff"))]


def _directives(text: str) -> dict[str, tuple[str, int]]:
    """The directives at the very top, by name in small letters: value and line (from 0)."""
    found: dict[str, tuple[str, int]] = {}
    for at, line in enumerate(_read_lines(text)):
        match = _DIRECTIVE.fullmatch(line.strip())
        if match is None:
            break
        found[match[1].lower()] = (match[2], at)
    return found


def _escape(text: str) -> str:
    """The character that continues a line."""
    return _directives(text).get("escape", ("\\", 0))[0][0]


def _heredocs(word: str, rest: str) -> list[tuple[str, str, str]]:
    """Every here-document that the instruction begins: whether tabs before its end are ignored, its quote, its end."""
    if word == "ONBUILD" and (match := _INSTRUCTION.match(rest)) is not None:
        word = match[1].upper()
    if word not in ("RUN", "COPY", "ADD"):
        return []
    return [(match[1], match[2], match[3]) for one in _WORD.findall(rest) if (match := _HEREDOC.fullmatch(one))]


_FLAG = re.compile(r"--([a-z-]+)")
_NEWER_FLAGS = {
    "RUN": {"mount", "network", "security", "device"},
    "COPY": {"link", "chmod", "parents", "exclude"},
    "ADD": {"link", "chmod", "checksum", "keep-git-dir", "exclude", "unpack"},
}
_PLATFORM = re.compile(r"(?:TARGET|BUILD)(?:PLATFORM|OS|ARCH|VARIANT)")


def buildkit_needs(text: str) -> tuple[tuple[int, str], ...]:
    """What the classic builder refuses or takes for something else: the lines (from 1), and what it is there."""
    return tuple(sorted({(one.first + 1, need) for one in instructions(text) for need in _needs(one)}))


def _needs(one: Instruction) -> Iterator[str]:
    flags = {match[1] for word in _leading_flags(one.rest) if (match := _FLAG.match(word))}
    yield from (f"{one.word} --{flag}" for flag in flags & _NEWER_FLAGS.get(one.word, set()))
    if _heredocs(one.word, one.rest):
        yield f"{one.word} <<"
    if one.word == "ARG":
        yield from (
            f"ARG {name}" for name, value in _declared(one.rest).items() if _PLATFORM.fullmatch(name) and not value
        )
    if one.word == "FROM" and (found := re.search(r"\$\{?(\w+)", one.rest)) and _PLATFORM.fullmatch(found[1]):
        yield f"FROM --platform=${found[1]}"


def _leading_flags(rest: str) -> list[str]:
    words = rest.split()
    return words[: next((at for at, word in enumerate(words) if not word.startswith("--")), len(words))]


def syntax(text: str) -> str:
    """The image of the frontend that the Dockerfile asks for, as it is written; empty where it asks for none."""
    return _directives(text).get("syntax", ("", 0))[0].partition(" ")[0]


def is_plain(text: str) -> bool:
    """Whether BuildKit's own frontend, in whatever version, reads it; another one may have a language of its own."""
    return not syntax(text) or _FRONTEND.fullmatch(syntax(text)) is not None


def without_syntax(text: str) -> str:
    """The Dockerfile read by the frontend that BuildKit has built in; every line keeps its number."""
    lines = lines_of(text)
    _, at = _directives(text).get("syntax", ("", -1))
    # Directives after it go on being at the top only if the line stays one.
    return "".join("# frontend=builtin\n" if number == at else line for number, line in enumerate(lines))


def base_images(text: str, args: Mapping[str, str]) -> tuple[BaseImage, ...]:
    """Every image that the Dockerfile takes from outside under these build arguments, in its order."""
    return tuple(_bases(text, args))


def last_base(text: str, args: Mapping[str, str], target: str | None = None) -> str:
    """The image, or `scratch`, that the target stage is made of in the end, the last one without a target."""
    first = next((one for one in of_stage(text, args, target) if one.word == "FROM" and one.words), None)
    return _expanded(first.words[0], _globals(text, args), _escape(text)) if first is not None else ""


def of_stage(text: str, args: Mapping[str, str], target: str | None = None) -> tuple[Instruction, ...]:
    """The instructions that make the target stage, the last one without a target: those of the stages that it is made
    from come first, and nothing is there of other stages."""
    values, mark = _globals(text, args), _escape(text)
    stages: dict[str, list[Instruction]] = {}
    made: list[Instruction] = []
    names: set[str] = set()
    count = 0
    for one in instructions(text):
        words = one.words
        if one.word == "FROM" and words:
            if target is not None and target.lower() in names:
                break
            made = list(stages.get(_expanded(words[0], values, mark).lower(), ()))
            names = {words[2].lower() if len(words) > 2 else "", str(count)} - {""}
            count += 1
            stages |= dict.fromkeys(names, made)
        made.append(one)
    return tuple(made)


def stages(text: str) -> tuple[str, ...]:
    """The names of the stages in small letters, and the number of each that has none."""
    named = [one.words for one in instructions(text) if one.word == "FROM"]
    return tuple(words[2].lower() if len(words) > 2 else str(at) for at, words in enumerate(named))


_STARTERS = ("exec", "tini", "dumb-init", "catatonit")


def started(text: str, target: str | None = None) -> tuple[str, int]:
    """The file that the target stage starts, as written, and the line (from 1) that says so; empty where none does."""
    found = {
        one.word: (_program(one.rest), one.first + 1) for one in of_stage(text, {}, target)
        if one.word in ("ENTRYPOINT", "CMD")
    }  # fmt: skip
    # What an entrypoint is given as arguments it may start itself: that is not known.
    return next((found[word] for word in ("ENTRYPOINT", "CMD") if found.get(word, ("", 0))[0]), ("", 0))


def health_check(text: str, target: str | None = None) -> str:
    """The health check of the target stage, as written; empty where it has none."""
    checks = [one.rest for one in of_stage(text, {}, target) if one.word == "HEALTHCHECK"]
    return checks[-1] if checks and checks[-1].strip().upper() != "NONE" else ""


def _program(rest: str) -> str:
    try:
        words = [str(word) for word in json.loads(rest)] if rest.startswith("[") else _WORD.findall(rest)
    except ValueError:
        words = []
    left = [word for word in words if not word.startswith("-")]
    while left and posixpath.basename(left[0]) in _STARTERS:
        del left[0]
    return left[0] if left else ""


def global_args(text: str) -> dict[str, str]:
    """The arguments that are declared before the first stage, with their defaults."""
    return {name: value or "" for name, value in _globals(text, {}).items() if name not in _platform()}


def _globals(text: str, args: Mapping[str, str]) -> dict[str, str | None]:
    """The arguments before the first stage under these build arguments, each default with what stands before it."""
    found: dict[str, str | None] = {name: value for name, value in _platform().items() if name not in args}
    for one in instructions(text):
        if one.word == "FROM":
            break
        for name, value in _declared(one.rest).items() if one.word == "ARG" else ():
            default = found.get(name) if value is None else _expanded(value, found, _escape(text))
            found[name] = args.get(name, default)
    return found


@cache
def _platform() -> dict[str, str]:
    """What BuildKit gives every `FROM`, where nothing says another platform than this machine's."""
    arch = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}.get(machine().lower(), machine().lower())
    given = {"PLATFORM": f"linux/{arch}", "OS": "linux", "ARCH": arch, "VARIANT": ""}
    return {f"{side}{name}": value for side in ("TARGET", "BUILD") for name, value in given.items()}


def declared_values(text: str, args: Mapping[str, str]) -> tuple[tuple[str, str, int], ...]:
    """Every ARG and ENV with its value under these build arguments, and its line (from 1)."""
    values: dict[str, str | None] = {}
    found: list[tuple[str, str, int]] = []
    for one in instructions(text):
        if one.word in ("ARG", "ENV"):
            for name, value in _declared(one.rest, one.word).items():
                is_given = one.word == "ARG" and name in args
                values[name] = args[name] if is_given else _expanded(value or "", values, _escape(text))
                found.append((name, values[name] or "", one.first + 1))
    return tuple(found)


def copied(text: str, args: Mapping[str, str], *, certain: bool = False) -> tuple[tuple[str, int], ...]:
    """What `COPY`, `ADD` and bind mounts take of the context (paths or patterns, "" for all of it), and their lines.

    Where a variable is one of the base image, that may be anything in the folder before it; `certain` leaves it out.
    """
    above, mark = _globals(text, args), _escape(text)
    values: dict[str, str | None] = {}
    found = []
    for one in map(_triggered, dropwhile(lambda one: one.word != "FROM", instructions(text))):
        if one.word in ("ARG", "ENV"):
            # What has no value may have one in the base image.
            values |= {name: value for name, value in _declares(one, values, above, args).items() if value}
        sources = _bound(one.rest) if one.word == "RUN" else _sources(one.rest) if one.word in ("COPY", "ADD") else []
        for source in sources:
            known = _known(source, values)
            path = _expanded(known, values, mark)
            if not _is_remote(path) and (known == source or not certain):
                found.append((posixpath.normpath(f"/{path}").lstrip("/"), one.first + 1))
    return tuple(found)


def _triggered(one: Instruction) -> Instruction:
    """What an `ONBUILD` does in the stages that are made from its own; any other instruction as it is."""
    match = _INSTRUCTION.match(one.rest) if one.word == "ONBUILD" else None
    return one if match is None else Instruction(match[1].upper(), match[2], one.first, one.last)


def _known(source: str, values: Mapping[str, str | None]) -> str:
    """The source, or the folder before its first variable that only the base image may have set."""
    unknown = (one.start() for one in _VARIABLE.finditer(source) if not one[3] and (one[1] or one[2]) not in values)
    at = next(unknown, None)
    return source if at is None else source[:at].rpartition("/")[0]


def copied_words(text: str) -> tuple[str, ...]:
    """What `COPY` and `ADD` take of the context, as written."""
    steps = (one for one in instructions(text) if one.word in ("COPY", "ADD"))
    return tuple(word.strip("\"'") for one in steps for word in _sources(one.rest))


def reaches(source: str, path: str) -> bool:
    """Whether what is copied from there contains the path, or part of it."""
    wanted, _, _ = source.partition("**")  # any number of folders, with `COPY --parents`
    pairs = zip(path.split("/"), wanted.split("/") if wanted else [], strict=False)
    return all(fnmatchcase(part, pattern) for part, pattern in pairs if pattern)


def _sources(rest: str) -> list[str]:
    """The sources of a `COPY` or `ADD` that are in the context."""
    flags = _leading_flags(rest)
    if any(flag.startswith("--from=") for flag in flags):
        return []
    left = rest.split(None, len(flags))[-1] if rest.split() else ""
    try:
        words = json.loads(left) if left.startswith("[") else _WORD.findall(left)
    except ValueError:
        words = [""]
    return [word for word in words[:-1] if not _HEREDOC.fullmatch(word) and not _is_remote(word)]


def _is_remote(source: str) -> bool:
    return "://" in source or "git@" in source


def _bound(rest: str) -> list[str]:
    """The folders of the context that a `RUN` mounts; a mount without a type is a bind."""
    return [
        one.get("source", one.get("src", ""))
        for one in _mounts(rest)
        if one.get("type", "bind") == "bind" and "from" not in one
    ]


def _mounts(rest: str) -> list[dict[str, str]]:
    """The mounts of a `RUN`."""
    return [dict(part.partition("=")[::2] for part in flag.partition("=")[2].split(","))
            for flag in _leading_flags(rest) if flag.startswith("--mount=")]  # fmt: skip


def exposed_ports(text: str, args: Mapping[str, str] | None = None, target: str | None = None) -> tuple[int, ...]:
    """The TCP ports that the target stage says it listens on, the last one without a target, and then those of the
    stages that it is made from."""
    ports: list[list[int]] = [[]]
    above = _globals(text, args or {})
    values: dict[str, str | None] = {}
    for one in of_stage(text, args or {}, target):
        if one.word == "FROM":
            ports.append([])
        elif one.word in ("ARG", "ENV"):
            values |= _declares(one, values, above, args or {})
        elif one.word == "EXPOSE":
            for word in one.rest.split():
                span, _, protocol = _expanded(word, values).partition("/")
                first, _, last = span.partition("-")
                if first.isdigit() and (last or first).isdigit() and protocol.lower() in ("", "tcp"):
                    ports[-1] += range(int(first), min(int(last or first), int(first) + _MOST_PORTS) + 1)
    return tuple(dict.fromkeys(port for stage in reversed(ports) for port in stage))


_MOST_PORTS = 100


def _declares(
    one: Instruction, values: Mapping[str, str | None], above: Mapping[str, str | None], args: Mapping[str, str]
) -> dict[str, str | None]:
    """As `_set`, within a stage: a declaration alone brings in what stands before the first one."""
    own = _declared(one.rest, one.word)
    brought = {name: above[name] for name in own if own[name] is None and name in above and name not in values}
    return {**brought, **_set(one, {**brought, **values}, args)}


def _set(one: Instruction, values: Mapping[str, str | None], args: Mapping[str, str]) -> dict[str, str | None]:
    """What an `ARG` or `ENV` sets under these build arguments; a bare name keeps what it has."""
    return {
        name: args[name] if one.word == "ARG" and name in args else _expanded(value or "", values)
        for name, value in _declared(one.rest, one.word).items()
        if value is not None or name not in values or (one.word == "ARG" and name in args)
    }


def arguments(text: str) -> dict[str, str]:
    """Every build argument with its default; empty where no declaration has one."""
    found = global_args(text)
    for one in instructions(text):
        for name, value in _declared(one.rest).items() if one.word == "ARG" else ():
            found[name] = found.get(name) or _expanded(value or "", found)
    return found


def with_bases(text: str, args: Mapping[str, str], others: Mapping[str, str]) -> str:
    """The Dockerfile with `others` in the place of the images of those names; every line keeps its number."""
    lines = lines_of(text)
    for base in _bases(text, args):
        if base.ref not in others:
            continue
        written = re.compile(rf"((?:^|\s)(?:--from=)?|[=,]from=){re.escape(base.written)}(?=[\s,]|$)")
        for at in range(base.first, base.last + 1):
            is_comment = lines[at].lstrip().startswith("#")
            replaced = lines[at] if is_comment else written.sub(rf"\g<1>{others[base.ref]}", lines[at], count=1)
            if replaced != lines[at]:
                lines[at] = replaced
                break
        else:
            # A name that goes on in the next line is written in one.
            one = next(one for one in instructions("".join(lines)) if one.first == base.first)
            if one.word == "FROM":
                whole = written.sub(rf"\g<1>{others[base.ref]}", f"FROM {one.rest}", count=1)
                lines[one.first : one.last + 1] = [f"{whole}\n", *["\n"] * (one.last - one.first)]
    return "".join(lines)


def _bases(text: str, args: Mapping[str, str]) -> Iterator[BaseImage]:
    values, mark = _globals(text, args), _escape(text)
    stages: set[str] = {"scratch"}
    for one in instructions(text):
        words = one.words
        if one.word == "FROM" and words:
            ref = _expanded(words[0], values, mark)
            if ref and ref.lower() not in stages:
                alone = _ALONE.fullmatch(words[0])
                argument = (alone[1] or alone[2]) if alone is not None else ""
                yield BaseImage(ref, words[0], one.first, one.last, argument)
            stages.add(words[2].lower() if len(words) > 2 and words[1].upper() == "AS" else "")
        for written in _taken_from(one):
            source = written.strip("\"'")
            if not source.isdigit() and source.lower() not in stages:
                yield BaseImage(source, written, one.first, one.last)


def _taken_from(one: Instruction) -> list[str]:
    """The stages and images that a `COPY` takes files from, or a `RUN` mounts, as written."""
    if one.word == "RUN":
        return [mount["from"] for mount in _mounts(one.rest) if mount.get("from")]
    flags = _leading_flags(one.rest) if one.word in ("COPY", "ADD") else []
    return [flag.removeprefix("--from=") for flag in flags if flag.startswith("--from=")]


def _declared(rest: str, word: str = "ARG") -> dict[str, str | None]:
    """`NAME=value NAME2="value 2"` as written, None for a bare name; or the old `NAME value` of an `ENV`."""
    words = _WORD.findall(rest)
    if word == "ENV" and len(words) > 1 and "=" not in words[0]:
        name, _, value = rest.partition(" ")
        return {name: value.strip()}
    pairs = (word.partition("=") for word in words)
    return {name: value if equal else None for name, equal, value in pairs}


def _expanded(word: str, values: Mapping[str, str | None], mark: str = "\\") -> str:
    """The word as BuildKit's shell lexer reads it: quotes and escapes gone, variables filled in."""
    return _read(word, 0, "", values, mark)[0]


def _read(word: str, at: int, stop: str, values: Mapping[str, str | None], mark: str) -> tuple[str, int]:
    """What is read from there up to the character `stop`, and the place after it."""
    text, quoted = "", False
    while at < len(word) and (quoted or word[at] != stop):
        char, following = word[at], word[at + 1 : at + 2]
        if char == "'" and not quoted:
            end = word.find("'", at + 1)
            end = len(word) if end < 0 else end
            text, at = text + word[at + 1 : end], end + 1
        elif char == '"':
            quoted, at = not quoted, at + 1
        elif char == mark:
            kept = quoted and following not in ('"', "$", mark)
            text, at = text + (mark if kept else "") + following, at + 2
        elif char == "$" and (match := _VARIABLE.match(word, at)) is not None:
            value, at, pattern = values.get(match[1] or match[2]), match.end(), ""
            if match[3]:
                if "/" in match[3]:
                    pattern, at = _read(word, at, "/", values, mark)
                other, at = _read(word, at, "}", values, mark)
                value = _modified(value, match[3], pattern, other)
            text += value or ""
        else:
            text, at = text + char, at + 1
    return text, at + 1


def _modified(value: str | None, operator: str, pattern: str, other: str) -> str | None:
    """What `${NAME<operator><other>}` is, or `${NAME/<pattern>/<other>}`."""
    if operator[0] not in "#%/":
        given = value is not None and (bool(value) or ":" not in operator)
        return (other if given else "") if "+" in operator else value if given else other
    if operator[0] == "/":
        found = re.compile(_as_regex(pattern, longest=True), re.DOTALL)
        return found.sub(lambda _: other, value or "", count=operator == "/")
    # The shortest suffix is the shortest prefix from behind.
    step = -1 if operator[0] == "%" else 1
    start = re.match(_as_regex(other[::step], longest=len(operator) > 1), (value or "")[::step], re.DOTALL)
    return (value or "")[::step][start.end() if start is not None else 0 :][::step]


def _as_regex(pattern: str, *, longest: bool) -> str:
    """The pattern of a shell, of which BuildKit knows `*` and `?`, as a regular expression."""
    special = {"*": ".*" if longest else ".*?", "?": "."}
    return "".join(special.get(char) or re.escape(char) for char in pattern)
