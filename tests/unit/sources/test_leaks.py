"""Env files with secrets are kept out of images; public settings that a build reads are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.sources.env_files import is_env_file, leaks, telling_values

SECRET = "kT9vQ2mZ8xW4"


def found(root: Path, files: dict[str, str], env_files: tuple[str, ...] = (), **values: str) -> list[str]:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return [one.path for one in leaks(root, files, [root / name for name in env_files], values)]


@pytest.mark.parametrize(
    "path",
    [".env", ".env.local", ".env.production.local", ".env-prod", ".env_prod", ".env.prod", "prod.env",
     "config/secrets.env", "deep/down/.env", "backend/.ENV"],
)  # fmt: skip
def test_a_file_with_secrets_is_known_by_its_name(tmp_path: Path, path: str) -> None:
    assert is_env_file(path)
    assert found(tmp_path, {path: "DATABASE_PASSWORD=x\n"}) == [path]


@pytest.mark.parametrize(
    "path",
    [".env.production", ".env.development", ".env.test", "web/.env.production", ".env.example", ".env.local.example",
     ".env.sample", ".env.template", ".env.dist", ".env.defaults", "example.env", "config/.env.production.example"],
)  # fmt: skip
def test_public_settings_and_examples_may_be_in_an_image(tmp_path: Path, path: str) -> None:
    assert found(tmp_path, {path: "VITE_API_BASE=/api\nLOG_LEVEL=info\nAPI_TOKEN=\n"}, API_TOKEN=SECRET) == []
    assert found(tmp_path, {path: f"VITE_KEY={SECRET}\n"}, API_TOKEN=SECRET) == [path]


@pytest.mark.parametrize("path", [".env", ".env.staging", "web.env"])
def test_a_file_of_public_keys_alone_may_be_in_an_image(tmp_path: Path, path: str) -> None:
    assert found(tmp_path, {path: "# built in\nVITE_A=1\nNEXT_PUBLIC_B=2\nREACT_APP_C=3\n"}) == []
    assert found(tmp_path, {path: "VITE_A=1\nDATABASE_URL=postgresql://db/app\nLOG_LEVEL=debug\nTOKEN=\n"}) == []
    assert found(tmp_path, {path: "VITE_A=1\nDATABASE_URL=postgresql://me:pw@db/app\n"}) == [path]
    assert found(tmp_path, {path: "VITE_A=1\nDB_PASSWORD=hunter2\n"}) == [path]
    assert found(tmp_path, {path: "VITE_A='open\n"}) == []


def test_an_env_file_of_the_spec_is_known_by_itself_whatever_it_is_called(tmp_path: Path) -> None:
    files = {"conf/settings": "A=1\n", ".env.production": "VITE_A=1\n", "main.py": ""}
    assert found(tmp_path, files, ("conf/settings", ".env.production")) == ["conf/settings", ".env.production"]
    (tmp_path / "link").symlink_to("conf/settings")
    assert [one.path for one in leaks(tmp_path, ["conf/settings"], [tmp_path / "link"], {})] == ["conf/settings"]


@pytest.mark.parametrize("path", ["main.py", "env.py", "environment.yaml", ".envrc.md", "src/env/index.ts", "venv"])
def test_other_files_are_no_env_files(path: str) -> None:
    assert not is_env_file(path)


def test_values_that_are_no_secret_show_nothing() -> None:
    values = {
        "API_TOKEN": SECRET, "OTHER_TOKEN": SECRET, "SESSION": "a1" * 20, "DB": "postgresql://u:hunter2@db/app",
        "URL": "http://localhost:3000", "MODE": "production", "PASSWORD": "short", "JWT_SECRET": "of-the-example",
        "EMPTY_KEY": "",
    }  # fmt: skip
    keys = set(values) - {"OTHER_TOKEN"} | {"ABSENT_SECRET"}
    assert set(telling_values(values, keys, {"JWT_SECRET": "of-the-example"})) == {"API_TOKEN", "DB", "SESSION"}
