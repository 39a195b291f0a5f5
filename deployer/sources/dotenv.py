"""`.env` read as Docker Compose reads it, and strictly: a line that readers take differently is an error or a note.

The grammar is compose-go's (docs.docker.com, "Syntax for environment files"), but whitespace before `#` begins a
comment even where no value stands before it. A line that concerns no wanted key is skipped with a note. Neither errors
nor notes show a value, and a name only where it is certain to be one: a key pasted over several lines can look like it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from urllib.parse import unquote

from deployer.core.errors import DeployError, ExitCode, Problem, input_error
from deployer.core.redact import URL_PASSWORD

Lookup = Callable[[str], str | None]
"""The value of a variable; None where it is not set."""

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEAD = re.compile(r"(?:export[^\S\n]+)?([^\s=:]*)[^\S\n]*([=:]?)")
_QUOTED = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"", re.DOTALL)
_SPACE = re.compile(r"[^\S\n]*")
_COMMENT = re.compile(r"[^\S\n]+#")
_NOTHING = re.compile(r"[^\S\n]*(?:#[^\n]*)?")
# A line within a quoted value that looks like an assignment. Base64 ends in "=", so something must follow it.
_SWALLOWED = re.compile(r"\n[^\S\n]*(?:export[^\S\n]+)?[A-Z][A-Z0-9_]*=(?:[^=\s]|[\"']\s*$)")
_NAME = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)")
# The rest of what is pasted over several lines: a key or certificate, and JSON.
_PASTED = {
    "-----BEGIN ": re.compile(r"\n(?:[^\n-][^\n]*\n|\n)*-----END [^\n]*"),
    "{": re.compile(r"\n(?:[ \t\"][^\n]*\n)*\}[^\n]*"),
}
_ESCAPE = re.compile(r"\\(?:[abfnrtv$\"\\]|0[0-9]{0,3})")
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", '"': '"', "\\": "\\"}
_DOLLAR = "\udfff"  # stands for an escaped `$` meanwhile; no text that was UTF-8 has it
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_FOLDER = re.compile(r"\"(?:[A-Za-z]:\\|\\\\)")
# compose-go's template: `$$`, `$NAME`, `${NAME…}`, and a `${` that begins none of them.
_VARIABLE = re.compile(r"\$(?:(\$)|([_a-z][_a-z0-9]*)|\{(?:([_a-z][_a-z0-9]*(?::?[-+?](.*))?)\}|))", re.IGNORECASE)
_OPERATORS = (":?", "?", ":-", "-", ":+", "+")


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
    notes: tuple[Problem, ...] = ()
    """Lines that were skipped, and values that other readers of the file take differently."""

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


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement of an env file: its line (from 1) and text, and where in the file its value is, from the `=` on.

    `code` says why it cannot be read.
    """

    line: int
    key: str
    text: str = field(repr=False)
    value: str = field(repr=False, default="")
    """As it is written, with its quotes."""
    place: tuple[int, int] = (0, 0)
    code: str = ""


def read_env(path: Path, source: str, wanted: Collection[str] | None = None, lookup: Lookup | None = None) -> EnvFile:
    """The entries of the file, as of `parse_env`; input error too when it cannot be read or is not UTF-8."""
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
    return parse_env(text, source, wanted, lookup)


def parse_env(text: str, source: str, wanted: Collection[str] | None = None, lookup: Lookup | None = None) -> EnvFile:
    """The entries of the text; one input error with all problems, each at `<source>:<line>`.

    Only what concerns a key of `wanted` (by default every key) is an error. With `lookup`, references to variables are
    filled in from it and from the lines before, as Compose does; without it, a reference is an error.
    """
    entries: dict[str, EnvEntry] = {}
    problems: list[Problem] = []
    notes: list[Problem] = []
    for one in statements(text):
        where = f"{source}:{one.line}"
        is_wanted = wanted is None or any(_begins(line) in wanted for line in one.text.split("\n"))
        value, problem, differs = _value(one, where, entries, lookup)
        if problem is not None and problem.code in _NAMED and wanted is not None and one.key in wanted:
            problem = replace(problem, title=_NAMED[problem.code].format(one.key))
        if problem is None and is_wanted and one.key in entries:
            problem = _duplicate(one.key, entries[one.key], where)
        if is_wanted:
            problems += [problem] if problem is not None else []
            notes += [differs] if differs is not None else []
        elif problem is not None and problem.code != "ENV_VARIABLE":
            title = "a line of the env file is skipped: nothing in the spec uses it"
            notes.append(Problem("ENV_SKIPPED", title, problem.title, where, problem.hints))
        if problem is None or problem.code in ("ENV_DUPLICATE", "ENV_VARIABLE"):
            entries[one.key] = EnvEntry(value, one.line, source)
    if problems:
        raise DeployError(problems, ExitCode.INPUT)
    return EnvFile(MappingProxyType(entries), source, tuple(notes))


def statements(text: str) -> Iterator[Statement]:
    """The statements of the text in their order; comments and empty lines are none."""
    at = 1 if text.startswith("\ufeff") else 0
    while at < len(text):
        end = _line_end(text, at)
        line = text[at:end]
        if line.strip() and not line.lstrip().startswith("#"):
            first = at + len(line) - len(line.lstrip())
            one = _statement(text, first, end)
            yield one
            end = first + len(one.text)
        at = end + 1


def merge_env(files: Iterable[EnvFile]) -> EnvFile:
    """All entries of the files; where several have a key, the last one's."""
    listed = tuple(files)
    entries = {key: entry for file in listed for key, entry in file.entries.items()}
    notes = tuple(note for file in listed for note in file.notes)
    return EnvFile(MappingProxyType(entries), ", ".join(file.source for file in listed if file.source), notes)


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _statement(text: str, first: int, end: int) -> Statement:
    """The statement that begins at `first`, in the line that ends at `end`."""
    line = text.count("\n", 0, first) + 1
    head = _HEAD.match(text, first)
    assert head is not None
    key, after = head[1], head.end()
    if head[2] != "=" or not key:
        bare = not head[2] and key and _NOTHING.fullmatch(text, after, end) is not None
        return Statement(line, key, text[first:end], code="ENV_NO_VALUE" if bare else "ENV_SYNTAX")
    code = "" if _KEY.fullmatch(key) else "ENV_BAD_NAME"
    space = _SPACE.match(text, after)
    assert space is not None
    start = space.end()
    if start < end and text[start] in "'\"":
        quoted = _QUOTED.match(text, start)
        if quoted is None:
            return Statement(line, key, text[first:end], code=code or "ENV_QUOTES")
        end = _line_end(text, quoted.end())
        if _NOTHING.fullmatch(text, quoted.end(), end) is None:
            return Statement(line, key, text[first:end], code=code or "ENV_QUOTES")
        if "\0" in quoted[0] or _SWALLOWED.search(quoted[0]):
            code = code or ("ENV_NUL" if "\0" in quoted[0] else "ENV_SWALLOWED")
        return Statement(line, key, text[first:end], quoted[0], (after, quoted.end()), code)
    comment = _COMMENT.search(text, after, end)
    written = text[after : comment.start() if comment is not None else end].rstrip()
    value = written.strip()
    for begin, rest in _PASTED.items():
        pasted = rest.match(text, end) if value.startswith(begin) and (begin != "{" or value == "{") else None
        if pasted is not None:
            end, code = pasted.end(), code or "ENV_UNQUOTED"
    return Statement(line, key, text[first:end], value, (after, after + len(written)), code)


def _begins(line: str) -> str:
    """The name that the line begins with; empty without one."""
    name = _NAME.match(line)
    return name[1] if name is not None else ""


# What makes a statement unreadable; the second title is for where its key is certain to be a name.
_TROUBLE = (
    (Problem(
        "ENV_NO_VALUE", "a line of the env file has no `=`",
        "every line is KEY=value, a comment or empty; a value of several lines needs quotes around it",
        hints=("write KEY= for an empty value",),
    ), "`{}` has no `=`"),
    (Problem(
        "ENV_SYNTAX", "a line of the env file is not KEY=value", hints=("write KEY=value, or # before a comment",)
    ), "the line of `{}` is not KEY=value"),
    (Problem(
        "ENV_BAD_NAME", "what is before `=` is not a variable's name",
        "a name has letters, digits and `_` only, and does not start with a digit", hints=("rename it",),
    ), "`{}` is not a variable's name"),
    (Problem(
        "ENV_QUOTES", "the quotes of a value are not closed, or something follows them",
        hints=("close the value with the quote that begins it, and write that quote within it with a \\ before it",),
    ), "the quotes of `{}` are not closed, or something follows them"),
    (Problem(
        "ENV_SWALLOWED", "a value contains lines that look like other variables",
        "its quotes are closed some lines further down",
        hints=(r'close the quotes on the same line, or write line breaks as \n within "…" if they are meant',),
    ), "the value of `{}` contains lines that look like other variables"),
    (Problem(
        "ENV_UNQUOTED", "a value has several lines and no quotes", "without quotes a value ends with its line",
        hints=("put '…' around the whole value, first to last line",),
    ), "the value of `{}` has several lines and no quotes"),
    (Problem("ENV_NUL", "a value contains a NUL character", hints=("remove it",)), "`{}` contains a NUL character"),
)  # fmt: skip
_UNREADABLE = {problem.code: problem for problem, _ in _TROUBLE}
_NAMED = {problem.code: title for problem, title in _TROUBLE}


def _duplicate(key: str, first: EnvEntry, where: str) -> Problem:
    detail = f"first at {first.where}, again at {where}"
    return Problem("ENV_DUPLICATE", f"`{key}` is set twice", detail, where, ("remove one of the two lines",))


def _value(
    one: Statement, where: str, before: Mapping[str, EnvEntry], lookup: Lookup | None
) -> tuple[str, Problem | None, Problem | None]:
    """The value, what is wrong with it, and what other readers take differently in it."""
    if one.code:
        inherited = lookup(one.key) if lookup is not None and one.code == "ENV_NO_VALUE" else None
        return inherited or "", None if inherited is not None else replace(_UNREADABLE[one.code], where=where), None
    quote = one.value[:1] if one.value[:1] in ("'", '"') else ""
    text = re.sub(r"\\(.)", lambda pair: pair[1] if pair[1] == quote else pair[0], one.value[1:-1], flags=re.DOTALL)
    if quote == "'":
        return text, None, None
    text = _ESCAPE.sub(_escaped, text) if quote else one.value
    why = ""
    if "\0" in text:
        return "", replace(_UNREADABLE["ENV_NUL"], where=where), None
    if quote and (_CONTROL.search(text) or (_FOLDER.match(one.value) and "\n" in text)):
        why = r"`\n`, `\t` and the like are line breaks and tabs within double quotes"
    elif one.value.startswith("`") and one.value.endswith("`"):
        why = "its backticks are part of it; Node.js takes them for quotes"
    if lookup is None:
        if any(match[1] is None for match in _VARIABLE.finditer(text)):
            hint = "write the value itself; '…' around it if its `$` is meant; or `env.expand: true` in the spec"
            return text, _reference(one.key, "refers to another variable, and nothing is filled in", where, hint), None
        why = why or ("Docker Compose takes `$$` for one `$`; here both are part of it" if "$$" in text else "")
        return text.replace(_DOLLAR, "$"), None, _differs(one.key, why, where)
    missing: list[str] = []

    def found(name: str) -> str | None:
        value = lookup(name)
        value = before[name].value if value is None and name in before else value
        missing.extend([name] if value is None else [])
        return value

    try:
        value = substituted(text.replace(_DOLLAR, "$$"), found)
    except ValueError as error:
        return "", _reference(one.key, str(error), where, "correct the reference"), None
    why = why or (f"it refers to `{missing[0]}`, which is not set" if missing and not value else "")
    return value, None, _differs(one.key, why, where)


def _reference(key: str, why: str, where: str, hint: str) -> Problem:
    return Problem("ENV_VARIABLE", f"the value of `{key}` {why}", where=where, hints=(hint,))


def _differs(key: str, why: str, where: str) -> Problem | None:
    title = f"the value of `{key}` may not be what is meant: {why}"
    hints = ("write it as '…' to have every character as it stands",)
    return Problem("ENV_AMBIGUOUS", title, where=where, hints=hints) if why else None


def _escaped(match: re.Match[str]) -> str:
    mark = match[0][1]
    if mark == "$":
        return _DOLLAR
    if mark != "0":
        return _ESCAPED[mark]
    digits = match[0][2:]
    # As Go reads octal digits: three of them, up to 0377; all others stay, without the first 0.
    return chr(int(digits, 8)) if re.fullmatch("[0-3][0-7]{2}", digits) else f"\\{digits}"


def substituted(template: str, lookup: Lookup) -> str:
    """The text with its variables filled in as Compose does (compose-go, `template`); an unset one is empty.

    ValueError, without any value, for what is no reference and for a variable that `${NAME:?…}` requires.
    """
    return _VARIABLE.sub(lambda match: _replacement(match[0], lookup), template)


def references(text: str) -> tuple[str, ...]:
    """The names of the variables that the text refers to as Compose reads it."""
    names = (match[2] or match[3] or "" for match in _VARIABLE.finditer(text) if match[1] is None)
    return tuple(name[1] for text in names if (name := _NAME.match(text)))


def _replacement(text: str, lookup: Lookup) -> str:
    operator = min((one for one in _OPERATORS if one in text), key=text.index, default="")
    end = _closing_brace(text)
    text, rest = (text[: end + 1], text[end + 1 :]) if end >= 0 else (text, "")
    match = _VARIABLE.match(text)
    if match is None or not (match[1] or match[2] or match[3]):
        raise ValueError("has a `${` that begins no reference")
    if match[1]:
        return "$"
    body = match[2] or match[3]
    if not match[3] or not operator or operator not in body:
        return lookup(body) or ""
    name, _, word = body.partition(operator)
    value = lookup(name)
    given = value is not None and (bool(value) or not operator.startswith(":"))
    if operator.endswith("?") and not given:
        raise ValueError(f"requires `{name}`, which has no value")
    if operator.endswith("+" if given else "-"):
        return substituted(word, lookup) + substituted(rest, lookup)
    return (value or "") + substituted(rest, lookup)


def _closing_brace(text: str) -> int:
    depth, at = 0, 0
    while at < len(text):
        if text[at] == "}":
            depth -= 1
            if depth == 0:
                return at
        elif text[at] == "{":
            depth += 1
            at += 1
        at += 1
    return -1


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
_SENSITIVE = re.compile(r"PWD|SALT|AUTH|PRIVATE|CERT|DSN|SIGN|SEED|(^|_)PIN($|_)", re.I)
# Keys and tokens: a long word with digits.
_RANDOM = re.compile(r"(?=[\w+/=-]*\d)(?<![\w./:-])[\w+/=-]{16,}(?![\w./:-])")


def names_secret(key: str) -> bool:
    """Whether the key's name says that its value is secret."""
    return _SECRET_KEY.search(key) is not None


def has_password(value: str) -> bool:
    """Whether the value is a URL with a password."""
    return URL_PASSWORD.match(value) is not None


def may_be_secret(key: str, value: str) -> bool:
    """Whether the key's name or the value's form is one that secrets have."""
    return names_secret(key) or any((_SENSITIVE.search(key), URL_PASSWORD.search(value), _RANDOM.search(value)))


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
