"""The rendered chart, as the tests look at it."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "infra" / "helm" / "touchline"
VALUES = sorted((Path(__file__).parent / "values").glob("*.yaml"))
MINIMAL = next(path for path in VALUES if path.stem == "minimal")
Manifest = dict[str, Any]


class Refused(Exception):
    """helm would not render; the message is its own."""


@dataclass(frozen=True)
class Rendered:
    """What one `helm template` gave."""

    manifests: list[Manifest]

    def one(self, kind: str, name: str = "") -> Manifest:
        """The only manifest of a kind whose name ends so."""
        (found,) = self.all(kind, name)
        return found

    def all(self, kind: str, name: str = "") -> list[Manifest]:
        """The manifests of a kind whose names end so."""
        return [m for m in self.manifests if m["kind"] == kind and m["metadata"]["name"].endswith(name)]

    @cached_property
    def pods(self) -> dict[str, Manifest]:
        """Every pod template and pod, by component."""
        specs = [m["spec"].get("jobTemplate", m)["spec"] for m in self.manifests if "spec" in m]
        templates = [spec["template"] for spec in specs if "template" in spec]
        return {m["metadata"]["labels"]["app.kubernetes.io/component"]: m for m in (*templates, *self.all("Pod"))}

    def containers(self) -> Iterator[tuple[str, Manifest]]:
        """Component and container of every pod."""
        for component, pod in self.pods.items():
            for container in pod["spec"]["containers"]:
                yield component, container

    def container(self, component: str) -> Manifest:
        """The one container of a component."""
        (container,) = self.pods[component]["spec"]["containers"]
        return container

    def environment(self, component: str) -> dict[str, str]:
        """What the component's settings will see of ConfigMap and `env`; Secrets are left out."""
        named = {m["metadata"]["name"]: m["data"] for m in self.all("ConfigMap")}
        container = self.container(component)
        sources = [named[s["configMapRef"]["name"]] for s in container["envFrom"] if "configMapRef" in s]
        own = {e["name"]: e["value"] for e in container.get("env", ()) if "value" in e}
        return {k: v for source in (*sources, own) for k, v in source.items()}


class Helm:
    """The chart through a real helm."""

    def __init__(self, binary: Path) -> None:
        self._binary = binary

    def run(self, *args: str) -> str:
        """Its output; Refused with its complaint."""
        answer = subprocess.run([self._binary, *args], capture_output=True, text=True, timeout=60, check=False)
        if answer.returncode:
            raise Refused(answer.stdout + answer.stderr)
        return answer.stdout

    def render(self, *sets: str, values: Path = MINIMAL, kube: str = "1.37") -> Rendered:
        """The chart with a values file and `--set-json` settings."""
        flags = [part for one in sets for part in ("--set-json", one)]
        text = self.run("template", "rel", str(FOLDER), "-f", str(values), "--kube-version", kube, *flags)
        return Rendered([m for m in yaml.load_all(text, yaml.CSafeLoader) if m])
