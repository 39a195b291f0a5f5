"""`.env` is read strictly, and no value leaves it through an error or a repr."""

import codecs
import json
import traceback
from pathlib import Path

import pytest

from deployer.core.errors import DeployError, ExitCode
from deployer.sources.dotenv import EnvFile, merge_env, parse_env, placeholder, read_env, suggest


def values(text: str) -> dict[str, str]:
    return {key: entry.value for key, entry in parse_env(text, ".env").items()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("# c\n\n  \n", {}),
        ("A=x # c", {"A": "x"}),
        ("A=x#c", {"A": "x#c"}),
        ('A="x"', {"A": "x"}),
        ("A='${B}'\nB=1", {"A": "${B}", "B": "1"}),
        ('A="a\\nb"', {"A": "a\nb"}),
        ("A='it\\'s'", {"A": "it's"}),
        ("A=$$`x`$(x)", {"A": "$$`x`$(x)"}),
        ('A="l1\nl2"\nB=2', {"A": "l1\nl2", "B": "2"}),
        ("export A=1\n export\tB = 2", {"A": "1", "B": "2"}),
        ("\ufeffA=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ("A=\nB= # c\nC=''", {"A": "", "B": "", "C": ""}),
        ("A=a=b==", {"A": "a=b=="}),
        ('A="x\\nKEY=1"', {"A": "x\nKEY=1"}),  # meant: written as \n
        (
            'K="-----BEGIN K-----\nMIIE\nQ0E=\nQUJD==\n-----END K-----"\n',
            {"K": "-----BEGIN K-----\nMIIE\nQ0E=\nQUJD==\n-----END K-----"},
        ),
    ],
)
def test_what_is_read(text: str, expected: dict[str, str]) -> None:
    assert values(text) == expected


@pytest.mark.parametrize(
    ("text", "code", "where"),
    [
        ('A="x', "ENV_QUOTES", ".env:1"),
        ("OK=1\n\n\nA='x\nB=2", "ENV_QUOTES", ".env:4"),
        ('OK=1\nA="x\nB="y"\nC=3', "ENV_QUOTES", ".env:2"),
        ('A="x\nB=y\nC="', "ENV_SWALLOWED", ".env:1"),
        ('\n# c\nA="x\nexport B=y"\n', "ENV_SWALLOWED", ".env:3"),
        ('A="x" y', "ENV_QUOTES", ".env:1"),
        ("A=1\r\n\r\nA=2\r\n", "ENV_DUPLICATE", ".env:3"),
        ("A=1\nBARE\n", "ENV_NO_VALUE", ".env:2"),
        ("1A=x", "ENV_BAD_NAME", ".env:1"),
        ("A-B=x", "ENV_BAD_NAME", ".env:1"),
        ("A.B=x", "ENV_BAD_NAME", ".env:1"),
        ("'A B'=x", "ENV_SYNTAX", ".env:1"),
        ("A=1\nB=$A", "ENV_VARIABLE", ".env:2"),
        ("B=http://${A}:80/", "ENV_VARIABLE", ".env:1"),
        ('B="${A:-nobody}!"', "ENV_VARIABLE", ".env:1"),
        ('A={\n  "a": 1\n}\nB=2', "ENV_UNQUOTED", ".env:1"),
        ("K=-----BEGIN K-----\nMIIE\nQ0E=\n-----END K-----\n", "ENV_UNQUOTED", ".env:1"),
        ("=x", "ENV_SYNTAX", ".env:1"),
        ("A: x", "ENV_SYNTAX", ".env:1"),
        ("A=x\0y", "ENV_NUL", ".env:1"),
    ],
)
def test_what_is_refused(text: str, code: str, where: str) -> None:
    with pytest.raises(DeployError) as caught:
        parse_env(text, ".env")
    assert caught.value.exit_code is ExitCode.INPUT
    assert (code, where) in [(problem.code, problem.where) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # docs.docker.com/reference/compose-file/services, "Env_file format", and the page on syntax for env files.
        ("VAR=VAL", "VAL"),
        ('VAR="VAL"', "VAL"),
        ("VAR='VAL'", "VAL"),
        ("VAR=VAL # comment", "VAL"),
        ("VAR=VAL# not a comment", "VAL# not a comment"),
        ('VAR="VAL # not a comment"', "VAL # not a comment"),
        ('VAR="VAL" # comment', "VAL"),
        ("VAR='$OTHER'", "$OTHER"),
        ("VAR='${OTHER}'", "${OTHER}"),
        ("VAR='Let\\'s go!'", "Let's go!"),
        (r'VAR="{\"hello\": \"json\"}"', '{"hello": "json"}'),
        (r'VAR="some\tvalue"', "some\tvalue"),
        (r"VAR='some\tvalue'", r"some\tvalue"),
        (r"VAR=some\tvalue", r"some\tvalue"),
        (r'VAR="a\\b\nc\rd"', "a\\b\nc\rd"),
        ("VAR='SOME\nVALUE'", "SOME\nVALUE"),
        ("VAR=${SET}", "set"),
        ("VAR=$SET", "set"),
        ("VAR=${UNSET:-default}", "default"),
        ("VAR=${EMPTY:-default}", "default"),
        ("VAR=${UNSET-default}", "default"),
        ("VAR=${EMPTY-default}", ""),
        ("VAR=${SET:?error}", "set"),
        ("VAR=${EMPTY?error}", ""),
        ("VAR=${SET:+replacement}", "replacement"),
        ("VAR=${EMPTY:+replacement}", ""),
        ("VAR=${EMPTY+replacement}", "replacement"),
        ("VAR=${UNSET:-${SET}}", "set"),
        ("VAR=${UNSET:-${EMPTY:-default}}", "default"),
        ("VAR=$$SET", "$SET"),
        (r'VAR="\$SET"', "$SET"),
        ("VAR=a$7", "a$7"),
    ],
)
def test_values_are_those_of_composes_documentation(text: str, value: str) -> None:
    known = {"SET": "set", "EMPTY": ""}
    assert parse_env(text, ".env", None, known.get).value("VAR") == value


def test_values_are_those_that_compose_reads(capsys: pytest.CaptureFixture[str]) -> None:
    """`compose_env.jsonl`: texts, and what compose-go v2.16.2 (dotenv.ParseWithLookup) makes of them; null is an error.

    Left out are the two differences of the module's docstring, and a name alone at the very end, which compose-go cuts.
    """
    known = {"HOME": "/home/ada", "EMPTY": ""}
    compared, different, stricter = 0, [], set()
    for line in (Path(__file__).parents[2] / "data" / "compose_env.jsonl").read_text(encoding="utf-8").splitlines():
        text, expected = json.loads(line)
        try:
            read = {key: one.value for key, one in parse_env(text, ".env", None, known.get).items()}
        except DeployError as error:
            stricter |= {one.code for one in error.problems} if expected is not None else set()
            continue
        compared += 1
        different += [text] if read != expected else []
    with capsys.disabled():
        print(f" [.env: {compared} texts compared with Compose, {len(different)} different]", end="")
    assert compared > 1000 and different == []
    assert stricter <= {"ENV_NO_VALUE", "ENV_QUOTES", "ENV_DUPLICATE", "ENV_SWALLOWED"}


def test_what_nothing_wants_is_skipped_with_a_note() -> None:
    text = "spring.x=1\nAWS_PROFILE\nLEVEL=a\nLEVEL=b\nN: v\nX='a\nTOKEN=c7\nREF=$Y\nfoo bar"
    env = parse_env(text, ".env", {"TOKEN"})
    assert {key: one.value for key, one in env.items()} == {"LEVEL": "b", "TOKEN": "c7", "REF": "$Y"}
    assert [(one.code, one.where) for one in env.notes] == [
        ("ENV_SKIPPED", f".env:{line}") for line in (1, 2, 5, 6, 9)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("TOKEN: c7d", "ENV_SYNTAX"),
        ("TOKEN", "ENV_NO_VALUE"),
        ("TOKEN=1\nTOKEN=2", "ENV_DUPLICATE"),
        ("OTHER='a\nTOKEN=b'", "ENV_SWALLOWED"),
        ("TOKEN=$X", "ENV_VARIABLE"),
        ("TOKEN=-----BEGIN K-----\nMIIE\n-----END K-----", "ENV_UNQUOTED"),
    ],
)
def test_what_concerns_a_wanted_key_is_an_error_that_names_it(text: str, code: str) -> None:
    with pytest.raises(DeployError) as caught:
        parse_env(text, ".env", {"TOKEN"})
    assert [one.code for one in caught.value.problems] == [code]
    assert "`TOKEN`" in caught.value.problems[0].title or code == "ENV_SWALLOWED"


@pytest.mark.parametrize(
    ("text", "noted"),
    [
        (r'A="C:\new\temp"', True),
        (r'A="C:\new"', True),
        ("A=`x y`", True),
        ("A=p4$$w0rd", True),
        (r'A="line\nline"', False),
        (r'A="a\$b"', False),
        (r"A='C:\new\temp$$'", False),
    ],
)
def test_a_value_that_other_readers_take_differently_is_noted(text: str, noted: bool) -> None:
    assert [one.code for one in parse_env(text, ".env").notes] == ["ENV_AMBIGUOUS"] * noted


def test_a_name_without_value_is_taken_from_the_environment_where_variables_are_filled_in() -> None:
    assert parse_env("A\nB=$A", ".env", {"A"}, {"A": "x"}.get).value("B") == "x"
    with pytest.raises(DeployError):
        parse_env("A=${NONE:?}", ".env", {"A"}, {}.get)


def test_all_problems_are_reported_together_in_order_of_lines() -> None:
    with pytest.raises(DeployError) as caught:
        parse_env("A=1\nA=2\nBARE\n1B=3\nC=4\n", "x.env")
    assert [problem.where for problem in caught.value.problems] == ["x.env:2", "x.env:3", "x.env:4"]
    assert caught.value.problems[0].detail == "first at x.env:1, again at x.env:2"


@pytest.mark.parametrize(
    "text",
    [
        'A="canary-1',
        "A='canary-1' canary-2",
        "A=canary-1\nA=canary-2",
        "canarykey1",
        "canary-1=canary-2",
        "canary/1==",
        "A=canary\0",
        'A="canary\nBBB=canary"',
        "canary canary",
    ],
)
def test_errors_show_no_value(text: str) -> None:
    with pytest.raises(DeployError) as caught:
        parse_env(text, ".env")
    shown = str([problem.to_wire() for problem in caught.value.problems]) + "".join(
        traceback.format_exception(caught.value)
    )
    assert "canary" not in shown


def test_reprs_show_no_value() -> None:
    env = parse_env("A=canary\n", ".env")
    assert "canary" not in f"{env!r}{env}{env['A']!r}{dict(env)}{list(env.items())}"
    assert "'A'" in repr(env)


def test_later_files_win_and_keep_their_origin() -> None:
    merged = merge_env([parse_env("A=1\nB=1\n", ".env"), parse_env("\nB=2\nC=2\n", ".env.local")])
    assert {key: (entry.value, entry.where) for key, entry in merged.items()} == {
        "A": ("1", ".env:1"),
        "B": ("2", ".env.local:2"),
        "C": ("2", ".env.local:3"),
    }
    assert merged.value("D") is None
    assert merge_env([]) is not None and len(merge_env([])) == 0


def test_reading_files(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    with pytest.raises(DeployError, match="cannot read"):
        read_env(path, ".env")
    path.write_bytes(codecs.BOM_UTF8 + b"A=1\r\n")
    assert read_env(path, ".env").value("A") == "1"
    path.write_bytes("A=1\n".encode("utf-16"))
    with pytest.raises(DeployError) as caught:
        read_env(path, ".env")
    assert caught.value.problems[0].code == "ENV_ENCODING"
    path.write_bytes(b"A=1\nB=\xff\n")
    with pytest.raises(DeployError) as caught:
        read_env(path, ".env")
    assert caught.value.problems[0].where == ".env:2"


EXAMPLE = parse_env("OPENAI_API_KEY=sk-from-the-example\nLOG_LEVEL=info\nDB_PASSWORD=\n", ".env.example")


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("OPENAI_API_KEY", "changeme", True),
        ("ANYTHING", "Change-Me", True),
        ("ANYTHING", "<your key>", True),
        ("ANYTHING", "your-openai-key-here", True),
        ("OPENAI_API_KEY", "sk-xxxxxxxx", True),
        ("OPENAI_API_KEY", "sk-...", True),
        ("ANYTHING", "${OTHER}", True),
        ("OPENAI_API_KEY", "sk-from-the-example", True),
        ("DB_PASSWORD", "password", True),
        ("BETTER_AUTH_SECRET", "secret", True),
        ("JWT_SECRET", "todo", True),
        ("API_TOKEN", "12345678", True),
        ("DATABASE_URL", "postgresql://user:password@host/db", True),
        ("DATABASE_URL", "postgresql://user:<password>@host/db", True),
        ("DATABASE_URL", "postgresql://todo:k3rS-9aj2@host/db", False),
        ("POSTGRES_DB", "todo", False),
        ("POSTGRES_USER", "admin", False),
        ("ENVIRONMENT", "test", False),
        ("LOG_LEVEL", "info", False),
        ("APP_NAME", "example", False),
        ("MONKEY", "test", False),
        ("KEYBOARD", "none", False),
        ("DB_PASSWORD", "", False),
        ("OPENAI_API_KEY", "sk-proj-a8Jh2kLm", False),
        ("BETTER_AUTH_SECRET", "xK9-todo-secret-test", False),
        ("GREETING", "your", False),
    ],
)
def test_placeholders(key: str, value: str, found: bool) -> None:
    reason = placeholder(value, key, EXAMPLE)
    assert (reason is not None) is found
    assert placeholder(value, key, None) is None or found
    if reason and value:
        assert value not in reason


def test_suggestions() -> None:
    keys = ("OPENAI_API_KEY", "COHERE_API_KEY", "DATABASE_URL", "BETTER_AUTH_SECRET")
    assert suggest("OPENAI_APIKEY", keys) == "OPENAI_API_KEY"
    assert suggest("openai_api_key", keys) == "OPENAI_API_KEY"
    assert suggest("DATABSE_URL", keys) == "DATABASE_URL"
    assert suggest("LOG_LEVEL", keys) is None
    assert suggest("DATABASE_URL", ("DATABASE_URL",)) is None


def test_an_env_file_is_immutable() -> None:
    env: EnvFile = parse_env("A=1", ".env")
    with pytest.raises(TypeError):
        env.entries["A"] = env["A"]  # type: ignore[index]
