"""Bundles: written once, verified before use, and nothing hostile in one leads anywhere."""

from __future__ import annotations

import io
import json
import random
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployer.core.errors import DeployError
from deployer.core.files import PRIVATE_FILE
from deployer.toolchain import bundle
from deployer.toolchain.bundle import CLUSTER, MANIFEST, Content, Manifest, open_bundle, write_bundle
from tests.unit.toolchain.support import finish

BINARY = bytes(range(256)) * 3000
CONTENTS = {
    "toolchain/built/helm-0123456789ab/helm": BINARY,
    "toolchain/built/helm-0123456789ab/LICENSE": b"text",
    "minikube/cache/linux/amd64/v1.0.0/kubelet": b"kubelet" * 1000,
    "charts/archives/0123.tgz": b"chart",
    CLUSTER: b"layers" * 5000,
    "wheels/tool-1-py3-none-any.whl": b"PK a wheel, as it is",
}


def contents(files: dict[str, bytes] = CONTENTS) -> list[Content]:
    return [
        Content(name, (raw[:100], raw[100:]).__iter__, len(raw), name.endswith("helm")) for name, raw in files.items()
    ]


def manifest(**fields: Any) -> Manifest:
    return replace(bundle.new_manifest("shop"), cluster={"shop:1": "sha256:1"}, **fields)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "shop.bundle"
    finish(write_bundle(path, manifest(), contents()))
    return path


def code_of(path: Path) -> str:
    """The code with which the bundle is refused before anything of it is used; empty where it is not."""
    try:
        with open_bundle(path) as opened:
            finish(opened.verify())
            for member in opened.manifest.members:
                for _ in opened.chunks(member):
                    pass
    except DeployError as error:
        assert int(error.exit_code) == 2
        assert all(problem.hints for problem in error.problems)
        return error.problems[0].code
    return ""


def load(path: Path, cache: Path) -> int:
    with open_bundle(path) as opened:
        finish(opened.verify())
        return finish(bundle.unpack(opened, cache, cache / "minikube"))


def test_what_is_written_is_read_again(saved: Path) -> None:
    with open_bundle(saved) as opened:
        finish(opened.verify())
        read = {one.name: b"".join(opened.chunks(one)) for one in opened.manifest.members}
        assert opened.manifest.application == "shop"
        assert [one.name for one in opened.manifest.members if one.executable] == [
            "toolchain/built/helm-0123456789ab/helm"
        ]
    assert read == CONTENTS
    assert saved.stat().st_mode & 0o777 == PRIVATE_FILE
    assert saved.stat().st_size < 2 * 2**20


def test_any_tar_lists_it_and_takes_out_the_wheels(saved: Path) -> None:
    with tarfile.open(saved) as tar:
        names = tar.getnames()
        wheel = tar.extractfile("wheels/tool-1-py3-none-any.whl")
        assert wheel is not None
        assert wheel.read() == CONTENTS["wheels/tool-1-py3-none-any.whl"]
    assert names == [MANIFEST, *CONTENTS]


def test_a_name_that_is_too_long_for_a_tar_header(tmp_path: Path) -> None:
    files = {f"wheels/{'a' * 150}.whl": b"1" * 700, "wheels/b.whl": b"2"}
    finish(write_bundle(tmp_path / "b", manifest(), contents(files)))
    assert code_of(tmp_path / "b") == ""


def test_a_save_that_breaks_off_leaves_what_was_there(saved: Path) -> None:
    before = saved.read_bytes()

    def breaks() -> Iterator[bytes]:
        yield b"begun"
        raise OSError(28, "No space left on device", "images/machine.tar")

    with pytest.raises(OSError, match="No space"):
        finish(write_bundle(saved, manifest(), [*contents(), Content("images/machine.tar", breaks)]))
    assert saved.read_bytes() == before
    assert [one.name for one in saved.parent.iterdir()] == [saved.name]


def test_files_come_to_their_places_once(saved: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert load(saved, cache) == 4
    helm = cache / "toolchain/built/helm-0123456789ab/helm"
    assert helm.read_bytes() == BINARY
    assert helm.stat().st_mode & 0o777 == 0o755
    assert (cache / "minikube/cache/linux/amd64/v1.0.0/kubelet").is_file()
    assert (cache / "charts/archives/0123.tgz").read_bytes() == b"chart"
    before = helm.stat()
    assert load(saved, cache) == 0
    assert helm.stat() == before
    assert list((cache / "toolchain/work").iterdir()) == []


def test_a_folder_of_programs_appears_whole_or_not_at_all(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(bundle, "write_within", breaks)
        with pytest.raises(KeyboardInterrupt):
            load(saved, tmp_path / "cache")
    assert not (tmp_path / "cache/toolchain/built").exists()
    assert load(saved, tmp_path / "cache") == 4


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"format": 2}, "BUNDLE_NEWER"),
        ({"platform": "plan9-mips"}, "BUNDLE_PLATFORM"),
        ({"application": "../../etc"}, "NAME_PATH"),
    ],
)
def test_a_bundle_that_is_not_for_here_is_refused(tmp_path: Path, fields: dict[str, Any], code: str) -> None:
    finish(write_bundle(tmp_path / "b", manifest(**fields), contents()))
    assert code_of(tmp_path / "b") == code


@pytest.mark.parametrize(
    "name",
    [
        "../out", "/etc/passwd", "toolchain/built/../../../out", "toolchain/bin/kubectl", "toolchain/lock",
        "wheels/../x",
        "minikube/certs/ca.pem", "minikube/config/config.json", "charts/shop-1/Chart.yaml", "toolchain/built/a/b/c/d",
        "toolchain/built/a\\..\\b/c", "toolchain/built//helm", "toolchain/built/ . /x", "images/other.tar", "C:/x", "",
        "charts/archives/../../x", "toolchain/built/a:b/c",
    ],
)  # fmt: skip
def test_a_member_that_belongs_nowhere_is_refused(tmp_path: Path, name: str) -> None:
    finish(write_bundle(tmp_path / "b", manifest(), contents({name: b"x"})))
    assert code_of(tmp_path / "b") == "BUNDLE_BROKEN"


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE])
def test_a_member_that_is_no_file_is_refused(saved: Path, tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(saved) as old, tarfile.open(tmp_path / "b", "w") as new:
        for one in old:
            content = old.extractfile(one)
            if one.name == CLUSTER:
                one.type, one.linkname, content = kind, "/etc/passwd", None
            new.addfile(one, content)
    assert code_of(tmp_path / "b") == "BUNDLE_BROKEN"


def test_a_member_that_unpacks_to_more_than_it_says_is_refused(saved: Path, tmp_path: Path) -> None:
    with tarfile.open(saved) as old, tarfile.open(tmp_path / "b", "w") as new:
        for one in old:
            content = old.extractfile(one)
            assert content is not None
            raw = content.read()
            if one.name == MANIFEST:
                document = json.loads(raw)
                document["members"][0]["unpacked"] -= 1
                raw = json.dumps(document).encode()
                one.size = len(raw)
            new.addfile(one, io.BytesIO(raw))
    assert code_of(tmp_path / "b") == "BUNDLE_BROKEN"


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    assert code_of(tmp_path / "absent") == "BUNDLE_UNREADABLE"
    assert code_of(tmp_path) == "BUNDLE_UNREADABLE"
    for raw in (b"", b"text", b"\0" * 10240, bytes(range(256)) * 20):
        (tmp_path / "b").write_bytes(raw)
        assert code_of(tmp_path / "b") == "BUNDLE_FOREIGN"
    with tarfile.open(tmp_path / "b", "w") as tar:
        tar.addfile(tarfile.TarInfo("manifest.yaml"))
    assert code_of(tmp_path / "b") == "BUNDLE_FOREIGN"


def test_a_file_that_was_cut_off_is_refused(saved: Path, tmp_path: Path) -> None:
    raw = saved.read_bytes()
    with tarfile.open(saved) as tar:
        last = max(one.offset_data + one.size for one in tar)
    for length in (*range(1, last, last // 40), last - 1):
        (tmp_path / "b").write_bytes(raw[:length])
        assert code_of(tmp_path / "b") in ("BUNDLE_BROKEN", "BUNDLE_FOREIGN"), length


def test_a_changed_byte_is_found_wherever_it_matters(saved: Path, tmp_path: Path) -> None:
    raw = saved.read_bytes()
    with tarfile.open(saved) as tar:
        data = [(one.offset_data, one.size) for one in tar if one.name != MANIFEST]
    chance = random.Random(15)
    for begun, size in data:
        at = begun + chance.randrange(size)
        (tmp_path / "b").write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
        assert code_of(tmp_path / "b") == "BUNDLE_BROKEN"
    used = len(raw[: data[0][0]].rstrip(b" \0"))
    for at in [chance.randrange(used) for _ in range(300)]:  # headers and manifest: refused, or without a meaning
        (tmp_path / "b").write_bytes(raw[:at] + bytes([raw[at] ^ 1 << chance.randrange(8)]) + raw[at + 1 :])
        code_of(tmp_path / "b")


def test_images_wait_for_a_cluster_until_a_newer_bundle_replaces_them(saved: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert bundle.kept_images("shop", cache) is None
    for again in (False, True):
        with open_bundle(saved) as opened:
            assert finish(bundle.keep_images(opened, cache)) is not again
    kept = bundle.kept_images("shop", cache)
    assert kept is not None
    assert (b"".join(kept.chunks()), dict(kept.images)) == (CONTENTS[CLUSTER], {"shop:1": "sha256:1"})
    assert bundle.kept_images("other", cache) is None
    finish(write_bundle(saved, manifest(), contents({CLUSTER: b"newer"})))
    with open_bundle(saved) as opened:
        assert finish(bundle.keep_images(opened, cache))
    newer = bundle.kept_images("shop", cache)
    assert newer is not None
    assert b"".join(newer.chunks()) == b"newer"
    assert not kept.archive.exists()
    newer.archive.write_bytes(b"damaged")
    with pytest.raises(bundle.DAMAGED):
        b"".join(newer.chunks())


def test_a_disk_that_is_too_small_is_named_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(DeployError) as caught:
        bundle.refuse_full(tmp_path / "not" / "there", 2**60)
    assert caught.value.problems[0].code == "DISK_FULL"
    bundle.refuse_full(tmp_path, 1)
