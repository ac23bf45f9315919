"""Write a bill of materials of each image from its lock; see scripts/sbom.

A lock holds the packages of every platform, so those that an image does not install are left out first.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from packaging.markers import Marker

ROOT = Path(__file__).parents[2]
LOCKS = ROOT / "infra" / "requirements"
# image -> lock; a worker may be built with either of two
IMAGES: Mapping[str, str] = {
    "api": "api",
    "worker": "worker",
    "worker-drift": "drift",
    "pipeline": "pipeline",
    "dashboard": "dashboards",
}
# what infra/docker/Dockerfile installs for
PLATFORM: Mapping[str, str] = {
    "python_version": "3.11",
    "python_full_version": "3.11.14",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "os_name": "posix",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
}
_VERSION = re.compile(r"^version = (\S+)$", re.MULTILINE)
_TIMEOUT_S = 600.0  # it imports and validates for minutes on a machine that is busy


def write_sbom(image: str, folder: Path) -> Path:
    """Write the CycloneDX file of one image and return its path."""
    path = folder / f"touchline-{image}.cdx.json"
    lock = "\n".join(installed_requirements((LOCKS / f"{IMAGES[image]}.txt").read_text(encoding="utf-8")))
    tool = str(Path(sys.executable).with_name("cyclonedx-py"))
    command = [tool, "requirements", "--output-reproducible", "--validate", "-"]
    made = subprocess.run(command, input=lock, capture_output=True, text=True, check=True, timeout=_TIMEOUT_S)
    document = json.loads(made.stdout)
    found = _VERSION.search((ROOT / "setup.cfg").read_text(encoding="utf-8"))
    assert found is not None  # noqa: S101  setup.cfg names a version
    component = {"type": "application", "bom-ref": "touchline", "name": f"touchline-{image}", "version": found[1]}
    document["metadata"]["component"] = component
    for part in document["components"]:
        del part["description"]  # the line of the lock, hashes and all, which stand in the component too
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return path


def installed_requirements(lock: str) -> Iterator[str]:
    """Yield the requirements of a lock that the images install, each with its hashes and without its marker."""
    for requirement in re.split(r"\n(?=\S)", lock.strip()):
        head, hashes, rest = requirement.partition(" \\\n")
        name, _semicolon, marker = head.partition(" ; ")
        if not marker or Marker(marker).evaluate(dict(PLATFORM)):
            yield f"{name}{hashes}{rest}"


def main() -> int:
    """Write all of them and print their paths."""
    parser = argparse.ArgumentParser("scripts/sbom", description="Write a bill of materials of each image.")
    parser.add_argument("--out", type=Path, default=ROOT / "var" / "sbom", help="folder (default: %(default)s)")
    folder = parser.parse_args().out
    for image in IMAGES:
        sys.stdout.write(f"{write_sbom(image, folder)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
