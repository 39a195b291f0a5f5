"""The `.env` file itself: made from its example, completed with generated values, and checked before use.

Whatever happens, a file is either as it was or complete, and only its owner can read what was written.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deployer.config.spec import SecretKeySource, Spec
from deployer.core.errors import DeployError, Problem, input_error, refused
from deployer.core.files import draft, shown_path, write_private
from deployer.plan import is_on, switch_states
from deployer.sources.dotenv import EnvFile, has_password, names_secret, parse_env, read_env, statements

_BOM = b"\xef\xbb\xbf"


def init_env_file(
    path: Path, example: Path | None, generated: Mapping[str, int], wanted: Collection[str] | None = None
) -> tuple[str, ...]:
    """The file exists (mode 0600), as the example with a fresh value of so many characters for each generated key.

    Returns the names of the generated keys. Refused when the file exists; input error for an example in which a wanted
    key cannot be read.
    """
    if path.exists() or path.is_symlink():
        raise _exists(path)
    text = ""
    if example is not None:
        read_env(example, example.name, wanted)
        text = example.read_bytes().decode("utf-8-sig")
    values = {key: _fresh(length) for key, length in generated.items()}
    filled, rest = _fill(text, values)
    with _draft(path, _append(filled, rest).encode(), values) as complete:
        _publish(complete, path)
    return tuple(generated)


def append_generated(path: Path, generated: Mapping[str, int]) -> tuple[str, ...]:
    """Every generated key has a value: absent ones are appended, empty ones filled in; all other bytes stay.

    Returns the names of the keys that were generated; nothing is written when there is none. Mode and owner stay.
    Input error when the line of such a key cannot be read.
    """
    target = path.resolve()  # a link stays a link
    before = read_env(target, path.name, generated)
    wanted = {key: _fresh(length) for key, length in generated.items() if not before.value(key)}
    if not wanted:
        return ()
    raw = target.read_bytes()
    bom, text = (_BOM, raw[len(_BOM) :]) if raw.startswith(_BOM) else (b"", raw)
    filled, rest = _fill(text.decode(), wanted)
    with _draft(target, bom + _append(filled, rest).encode(), wanted) as complete:
        _keep_owner(complete, target.stat())
        if target.read_bytes() != raw:
            raise input_error(
                "ENV_CHANGED",
                f"another program changed `{path.name}` at the same time",
                hints=("run the command again",),
            )
        complete.replace(target)
    return tuple(wanted)


def set_values(path: Path, values: Mapping[str, str]) -> Path | None:
    """The file (made with mode 0600 where there is none) gives these keys these values, every other byte stays.

    Returns where the file as it was is kept, beside it; None where there was none.
    """
    written = {key: _quoted(value) for key, value in values.items()}
    target, kept = path.resolve(), None
    before = target.read_bytes() if target.exists() else b""
    if before:
        kept = target.with_name(f"{target.name}.before-pull")
        write_private(kept, before)
    filled, rest = _fill(before.decode("utf-8-sig"), written)
    content = _append(filled, rest)
    read = parse_env(content, path.name, values)
    if any(read.value(key) != value for key, value in values.items()):
        raise input_error(
            "ENV_UNWRITABLE", f"`{path.name}` cannot hold these values as they are", where=path.name,
            hints=("kubectl get secret NAME --output yaml shows them",),
        )  # fmt: skip
    with _draft(target, content.encode(), values) as complete:
        if before:
            _keep_owner(complete, target.stat())
        complete.replace(target)
    return kept


def _quoted(value: str) -> str:
    """The value as an env file has it: plain, within '…', or within "…" with escapes."""
    if re.fullmatch(r"[\w@%+=:,./-]*", value, re.ASCII):
        return value
    if not re.search(r"['\\\n\r]", value):
        return f"'{value}'"
    escaped = re.sub(r'([\\"$])', r"\\\1", value).replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'


def file_problems(path: Path, project_root: Path) -> list[Problem]:
    """What is wrong with the file itself: why it cannot be read, or else how it is not protected."""
    unread = unreadable(path, project_root)
    return [unread] if unread is not None else unprotected(path, project_root)


def unreadable(path: Path, project_root: Path) -> Problem | None:
    """Why the file cannot be read; None where it can."""
    name = shown_path(path, project_root)
    try:
        info = path.stat()
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        title = f"there is no `{name}`" if missing else f"cannot read `{name}`"
        code = "ENV_FILE_MISSING" if missing else "ENV_UNREADABLE"
        hints = ("todo-deploy secrets init",) if missing else (f"ls -ld {name}",)
        return Problem(code, title, "" if missing else error.strerror or "", name, hints)
    if stat.S_ISDIR(info.st_mode):
        # Docker makes a directory of a bind mount whose file is missing.
        return Problem("ENV_DIRECTORY", f"`{name}` is a directory", where=name, hints=(f"rmdir {name}",))
    if not stat.S_ISREG(info.st_mode):
        return Problem("ENV_NOT_REGULAR", f"`{name}` is not a regular file", where=name, hints=(f"ls -l {name}",))
    if not os.access(path, os.R_OK):
        hint = f'sudo chown "$USER" {name} && chmod 600 {name}'
        return Problem("ENV_UNREADABLE", f"this user cannot read `{name}`", where=name, hints=(hint,))
    return None


def unprotected(path: Path, project_root: Path) -> list[Problem]:
    """What others can do with the file; nothing is said of one that is not there."""
    if os.name == "nt" or not path.is_file():
        return []
    problems, info, name = [], path.stat(), shown_path(path, project_root)
    if info.st_mode & 0o077:
        mode = f"its mode is {stat.S_IMODE(info.st_mode):04o}"
        title = f"others on this machine can use `{name}`"
        problems.append(Problem("ENV_MODE", title, mode, name, (f"chmod 600 {name}",)))
    if info.st_uid not in (os.geteuid(), 0):
        hints = (f'sudo chown "$USER" {name}',)
        problems.append(Problem("ENV_OWNER", f"`{name}` belongs to another user", f"uid {info.st_uid}", name, hints))
    return problems


def _fill(text: str, values: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The text with the values of its keys replaced, and the values of keys that it does not have."""
    rest = dict(values)
    parts, at = [], 0
    for one in statements(text):
        if one.key in rest and not one.code:
            start, end = one.place
            parts += [text[at:start], rest.pop(one.key)]
            at = end
    return "".join([*parts, text[at:]]), rest


def _append(text: str, values: Mapping[str, str]) -> str:
    eol = "\r\n" if "\r\n" in text else "\n"
    start = eol if values and text and not text.endswith(("\n", "\r")) else ""
    return text + start + "".join(f"{key}={value}{eol}" for key, value in values.items())


def _fresh(length: int) -> str:
    if length < 1:
        raise ValueError("a generated value has at least one character")
    return secrets.token_urlsafe(length)[:length]


@contextlib.contextmanager
def _draft(path: Path, content: bytes, keys: Collection[str]) -> Iterator[Path]:
    """As `core.files.draft`, with a name that `.env.*` in `.gitignore` covers, and input error where it cannot be."""
    parse_env(content.decode("utf-8-sig"), path.name, keys)  # never write what could not be read back
    with contextlib.ExitStack() as stack:
        try:
            complete = stack.enter_context(draft(path, lambda stream: stream.write(content), sync=True))
        except OSError as error:
            hint = (
                "df -h ." if error.errno == errno.ENOSPC else "or elsewhere: --set env.files=[/a/folder/of/yours/.env]"
            )
            raise input_error(
                "ENV_UNWRITABLE", f"cannot write `{path.name}`", detail=error.strerror or "", where=str(path.parent),
                hints=(f"ls -ld {path.parent}", hint),
            ) from None  # fmt: skip
        yield complete


def _publish(complete: Path, path: Path) -> None:
    try:
        os.link(complete, path)  # unlike a rename, fails when the file exists by now
    except FileExistsError:
        raise _exists(path) from None
    except OSError:
        # A file system without hard links: reserve the name, then rename over the reservation.
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            raise _exists(path) from None
        complete.replace(path)


def _keep_owner(complete: Path, info: os.stat_result) -> None:
    complete.chmod(stat.S_IMODE(info.st_mode))
    if os.name != "nt" and (info.st_uid, info.st_gid) != (os.geteuid(), os.getegid()):
        with contextlib.suppress(PermissionError):
            os.chown(complete, info.st_uid, info.st_gid)


def _exists(path: Path) -> DeployError:
    return refused(
        "ENV_EXISTS",
        f"`{path.name}` exists and is never overwritten",
        where=str(path.name),
        hints=(f"move `{path.name}` away first, or edit it",),
    )


KeyState = Literal["set", "default", "generated", "empty", "missing", "placeholder", "off"]


@dataclass(frozen=True, slots=True)
class KeyRow:
    """One key of one Secret; `where` is the line of the env file that gives it, if any."""

    secret: str
    key: str
    source: str
    kind: str
    state: KeyState
    where: str = ""


def key_rows(spec: Spec, env: EnvFile, problems: Iterable[Problem]) -> tuple[KeyRow, ...]:
    """Every key in the spec's order; `problems` are those of `inputs.env_problems`.

    States: `generated` will be made by the next `up`, `default` is made from the spec's default, `off` belongs to a
    Secret that is switched off.
    """
    left = {problem.where for problem in problems if problem.code == "ENV_PLACEHOLDER"}
    on = switch_states(spec, {key: entry.value for key, entry in env.items()})
    rows = []
    for name, secret in spec.secrets.items():
        for key, wanted in secret.keys.items():
            source = wanted.source or key
            where = env[source].where if source in env else ""
            state: KeyState = "off" if not is_on(secret.when, on) else _state(wanted, env.value(source), where in left)
            rows.append(KeyRow(name, key, source, wanted.kind, state, where))
    return tuple(rows)


def _state(wanted: SecretKeySource, value: str | None, is_placeholder: bool) -> KeyState:
    if value:
        return "placeholder" if is_placeholder else "set"
    if wanted.kind == "generated":
        return "generated"
    if wanted.default is not None:
        return "default"
    return "missing" if value is None and wanted.kind == "required" else "empty"


_ENV_FILE = re.compile(r"(?:\.env(?:[._-].+)?|.+\.env)", re.IGNORECASE)
_EXAMPLE = re.compile(r"(?:.+[._-])?(?:example|sample|template|tmpl|tpl|dist|defaults?)(?:\.env)?", re.IGNORECASE)
_BUILD_SETTINGS = re.compile(r"\.env\.(?:production|development|test)")
_PUBLIC_KEY = re.compile(r"(?:NEXT_PUBLIC|NUXT_PUBLIC|REACT_APP|VITE|VUE_APP|GATSBY|EXPO_PUBLIC|PUBLIC)_\w+|NODE_ENV")
_SHORTEST = 8  # shorter values are words that any file contains
_RANDOM = re.compile(r"(?=.*\d)(?=.*[A-Za-z])[\w+/=-]{16,}")


@dataclass(frozen=True, slots=True)
class Leak:
    """A file of a build context whose secrets would be in the image, and how that is known."""

    path: str
    why: str
    certain: bool = True
    """Whether it is a secret of the spec, or in a file that no build reads."""


def is_env_file(path: str) -> bool:
    """Whether the file is named as env files are: `.env`, `.env.local`, `.env-prod`, `config/secrets.env`."""
    return _ENV_FILE.fullmatch(path.rpartition("/")[2]) is not None


def telling_values(values: Mapping[str, str], keys: Collection[str], example: Mapping[str, str]) -> dict[str, str]:
    """The values of these keys by which a copy of a secret is known: none that the example has, and no plain words."""
    found = {key: values.get(key, "").strip() for key in keys}
    return {
        key: value for key, value in found.items() if is_telling(key, value) and example.get(key, "").strip() != value
    }


def is_telling(key: str, value: str) -> bool:
    """Whether the value is long enough and no plain word, so that a text which contains it has it from this key."""
    secret = names_secret(key) or has_password(value) or _RANDOM.fullmatch(value) is not None
    return secret and len(value) >= _SHORTEST


def leaks(root: Path, paths: Iterable[str], env_files: Collection[Path], values: Mapping[str, str]) -> Iterator[Leak]:
    """The files below the root that no image may hold; `values` are those of `telling_values`."""
    real = {path.resolve() for path in env_files}
    for path in paths:
        if (root / path).resolve() in real:
            yield Leak(path, "it is an env file of the spec (env.files)")
        elif is_env_file(path):
            yield from _leaks(root, path, values)


def _leaks(root: Path, path: str, values: Mapping[str, str]) -> Iterator[Leak]:
    """The file, where it holds secrets."""
    try:
        text = (root / path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return  # whoever sends the context says that it cannot be read
    name = path.rpartition("/")[2]
    for key, value in values.items():
        if value in text:
            yield Leak(path, f"it holds the value of `{key}`")
            return
    for one in statements(text) if not _EXAMPLE.fullmatch(name) else ():
        value = one.value.strip(" \t\"'")
        if value and (has_password(value) or (names_secret(one.key) and not _PUBLIC_KEY.fullmatch(one.key))):
            yield Leak(path, f"its key `{one.key}` is that of a secret", _BUILD_SETTINGS.fullmatch(name) is None)
            return
