"""The operators' own schemas of the custom resources, from packages that carry them compiled for Node."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.chart.chart import Manifest

PACKAGES = ("@kubernetes-models/keda@2.0.0", "@kubernetes-models/prometheus-operator@6.0.0")
MODULES = {
    "ScaledObject": "@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject",
    "ServiceMonitor": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor",
    "PodMonitor": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PodMonitor",
    "PrometheusRule": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule",
}
# prints what is wrong with the manifest on its standard input, nothing when all is well
_SCRIPT = """
import { readFileSync } from "node:fs";
const [module, kind] = process.argv.slice(2);
const { [kind]: Model } = await import(module);
try { new Model(JSON.parse(readFileSync(0))).validate() } catch (error) { console.log(error.message) }
"""


class CustomSchemas:
    """Validates custom resources in a folder with the packages."""

    def __init__(self, folder: Path) -> None:
        self._node, npm = shutil.which("node"), shutil.which("npm")
        if not (self._node and npm):
            pytest.skip("the schemas of KEDA and the Prometheus operator come as Node packages, and there is no Node")
        self._folder = folder
        (folder / "validate.mjs").write_text(_SCRIPT)
        install = [npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), *PACKAGES]
        subprocess.run(install, check=True, capture_output=True, timeout=100)

    def complaint(self, manifest: Manifest) -> str:
        """What is wrong; empty when nothing is."""
        kind = manifest["kind"]
        module = str(self._folder / "node_modules" / f"{MODULES[kind]}.js")
        command = [str(self._node), str(self._folder / "validate.mjs"), module, kind]
        answer = subprocess.run(
            command, input=json.dumps(manifest), capture_output=True, text=True, timeout=60, check=False
        )
        return (answer.stdout + answer.stderr).strip()
