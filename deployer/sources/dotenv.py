"""`.env` read strictly: what a lenient parser would accept silently is an error with its line.

The tokens are python-dotenv's; there is no interpolation at all, and no error shows a value. Names are shown only
where they are certain to be names: a key pasted over several lines can look like one.
"""

from __future__ import annotations

import difflib
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import unquote

from deployer.core.errors import DeployError, ExitCode, Problem, input_error
from deployer.core.redact import URL_PASSWORD

if TYPE_CHECKING:
    from dotenv.parser import Binding

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BREAK = re.compile(r"\r\n|\n|\r")
# A line within a quoted value that looks like an assignment. Base64 ends in "=", so something must follow it.
_SWALLOWED = re.compile(r"(?:\r\n|\n|\r)[^\S\r\n]*(?:export[^\S\r\n]+)?[A-Z][A-Z0-9_]*=(?:[^=\s]|[\"']\s*$)")
_ASSIGNMENT = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)[^\S\r\n]*=[^\S\r\n]*(.?)")


@dataclass(frozen=True, slots=True)
class EnvEntry:
    """A value and where it was written; the value is in no repr."""

    value: str = field(repr=False)
    line: int
    source: str

    @property
    def where(self) -> str:
        """`file:line`."""
        return f"{self.source}:{self.line}"


@dataclass(frozen=True, slots=True, eq=False)
class EnvFile(Mapping[str, EnvEntry]):
    """The entries of one env file, or of several merged, by key; its repr shows keys only."""

    entries: Mapping[str, EnvEntry]
    source: str

    def __getitem__(self, key: str) -> EnvEntry:
        return self.entries[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __repr__(self) -> str:
        return f"EnvFile({self.source!r}, keys={list(self.entries)})"

    def value(self, key: str) -> str | None:
        """The key's value; None when the key is absent."""
        return self.entries[key].value if key in self.entries else None


def read_env(path: Path, source: str) -> EnvFile:
    """The file's entries; input error when it cannot be read, is not UTF-8 or is not strict (see `parse_env`)."""
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        title, hint = f"cannot read `{source}`", f"ls -ld {source}"
        if isinstance(error, PermissionError):
            title, hint = f"you may not read `{source}`", f'sudo chown "$USER" {source} && chmod 600 {source}'
        raise input_error("ENV_UNREADABLE", title, detail=error.strerror or "", where=source, hints=(hint,)) from None
    except UnicodeDecodeError as error:
        # UTF-16 is what `>` writes in Windows PowerShell.
        line = error.object.count(b"\n", 0, error.start) + 1
        raise input_error(
            "ENV_ENCODING", f"`{source}` is not UTF-8", where=f"{source}:{line}", hints=("save the file as UTF-8",)
        ) from None
    return parse_env(text, source)


def parse_env(text: str, source: str) -> EnvFile:
    """The entries of the text; one input error with all problems, each at `<source>:<line>`."""
    entries: dict[str, EnvEntry] = {}
    problems: list[Problem] = []
    for binding, line in bindings(text):
        problem = _problem(binding, f"{source}:{line}")
        if problem is None and binding.key is not None and binding.key in entries:
            problem = _duplicate(binding.key, entries[binding.key], f"{source}:{line}")
        if problem is not None:
            problems.append(problem)
        elif binding.key is not None:
            entries[binding.key] = EnvEntry(binding.value or "", line, source)
    if problems:
        raise DeployError(problems, ExitCode.INPUT)
    return EnvFile(MappingProxyType(entries), source)


def bindings(text: str) -> Iterator[tuple[Binding, int]]:
    """The tokens of the text with the line each really starts at (python-dotenv counts blank lines before it in)."""
    from dotenv.parser import parse_stream

    for binding in parse_stream(io.StringIO(text, newline="")):
        token = binding.original.string
        blank = token[: len(token) - len(token.lstrip())]
        yield binding, binding.original.line + len(_BREAK.findall(blank))


def merge_env(files: Iterable[EnvFile]) -> EnvFile:
    """All entries of the files; where several have a key, the last one's."""
    listed = tuple(files)
    entries = {key: entry for file in listed for key, entry in file.entries.items()}
    return EnvFile(MappingProxyType(entries), ", ".join(file.source for file in listed))


def _problem(binding: Binding, where: str) -> Problem | None:
    token = binding.original.string
    if binding.error:
        return _unreadable(token, where)
    if binding.key is None:
        return None
    if binding.value is None:
        return Problem(
            "ENV_NO_VALUE",
            "a line of the env file has no `=`",
            "every line is KEY=value, a comment or empty; a value of several lines needs quotes around it",
            where,
            ("write KEY= for an empty value",),
        )
    if not _KEY.fullmatch(binding.key):
        rule = "a name has letters, digits and `_` only, and does not start with a digit"
        return Problem("ENV_BAD_NAME", "what is before `=` is not a variable's name", rule, where, ("rename it",))
    if "\0" in binding.value:
        return Problem("ENV_NUL", f"`{binding.key}` contains a NUL character", where=where, hints=("remove it",))
    if _SWALLOWED.search(token.strip()):
        return Problem(
            "ENV_SWALLOWED",
            f"the value of `{binding.key}` contains lines that look like other variables",
            "its quotes are closed some lines further down",
            where,
            ("close the quotes on the same line", r'write line breaks as \n within "…" if they are meant'),
        )
    return None


def _unreadable(token: str, where: str) -> Problem:
    match = _ASSIGNMENT.match(token)
    if match is None or match[2] not in ("'", '"'):
        return Problem(
            "ENV_SYNTAX",
            "a line of the env file is not KEY=value",
            where=where,
            hints=("write KEY=value, or # before a comment",),
        )
    return Problem(
        "ENV_QUOTES",
        f"the quotes of `{match[1]}` are not closed, or something follows them",
        where=where,
        hints=(f"close the value with {match[2]}, and write a quote within it as \\{match[2]}",),
    )


def _duplicate(key: str, first: EnvEntry, where: str) -> Problem:
    return Problem(
        "ENV_DUPLICATE",
        f"`{key}` is set twice",
        f"first at {first.where}, again at {where}",
        where,
        ("remove one of the two lines",),
    )


# Nobody means these, whatever the key.
_PLACEHOLDER = re.compile(
    r"change[-_ ]?(me|it|this).*|replace[-_ ]?(me|it|this|with).*|fixme|tbd|insert[-_ ].*|"
    r"(sk-|re_|pk_)?(proj-)?([x*.…]{3,}|your[-_ ].*)|<.*>|\[your.*\]|my[-_ ](secret|password|api[-_ ]?key|token)",
    re.IGNORECASE | re.DOTALL,
)
_REFERENCE = re.compile(r"\$\{[^}]*\}|\$\([^)]*\)|\{\{.*\}\}")
# Ordinary words: a database may well be called "todo" or "test", a secret not.
_WEAK_SECRET = re.compile(
    r"todo|example|dummy|(super[-_ ]?)?secret([-_ ]?key)?|pass(word|w0rd|wd)?|admin|root|test(ing)?|"
    r"1234\d*|null|none|foo|bar|foobar|abc123|qwerty|letmein|default|sample|demo",
    re.IGNORECASE,
)
_SECRET_KEY = re.compile(
    r"PASS(WORD|WD|PHRASE)?($|_)|SECRET|TOKEN|(^|_)(API_?|PRIVATE_?|ACCESS_?)?KEY($|_)|CREDENTIAL", re.I
)


def names_secret(key: str) -> bool:
    """Whether the key's name says that its value is secret."""
    return _SECRET_KEY.search(key) is not None


def has_password(value: str) -> bool:
    """Whether the value is a URL with a password."""
    return URL_PASSWORD.match(value) is not None


def placeholder(value: str, key: str, example: EnvFile | None) -> str | None:
    """Why the value is a placeholder, without showing it; None for an empty value and one that may be real.

    Ordinary words are placeholders only where the key names a secret, as is the example's own value.
    """
    text = value.strip()
    if not text:
        return None
    if _REFERENCE.fullmatch(text):
        return "it refers to another variable, and nothing is filled in here"
    if _PLACEHOLDER.fullmatch(text):
        return "it is a placeholder"
    url = URL_PASSWORD.match(text)
    if url is not None and (_PLACEHOLDER.fullmatch(unquote(url[1])) or url[1].lower() == "password"):
        return "its password is a placeholder"
    if not names_secret(key):
        return None
    if _WEAK_SECRET.fullmatch(text):
        return "it is a word that anybody would try first"
    if example is not None and (example.value(key) or "").strip() == text:
        return f"it is the value of `{example.source}`"
    return None


def suggest(key: str, keys: Iterable[str]) -> str | None:
    """The one of `keys` that was probably meant by `key` (OPENAI_APIKEY for OPENAI_API_KEY); None without one."""
    plain = {_plain(candidate): candidate for candidate in keys if candidate != key}
    close = difflib.get_close_matches(_plain(key), plain, n=1, cutoff=0.85)
    return plain[close[0]] if close else None


def _plain(key: str) -> str:
    return re.sub(r"[^a-z0-9]", "", key.lower())
