"""`scripts/check_model NAME@ALIAS`: say whether workers would serve a model, and all that is wrong with it.

A module of its own, as it is a command: the pool never imports it.
"""

import argparse
import logging
import sys
import warnings
from dataclasses import dataclass

from app.settings import Settings
from worker.registry import REGISTRY_ERRORS, Inspection, ModelRegistry


@dataclass(frozen=True, slots=True)
class ModelAddress:
    """A registered model's name, and an alias or a version of it."""

    name: str
    alias: str = ""
    version: str = ""

    @classmethod
    def parse(cls, text: str) -> "ModelAddress":
        """Read NAME@ALIAS or NAME/VERSION; ValueError when it is neither."""
        name, _, alias = text.rpartition("@")
        if name and alias:
            return cls(name, alias=alias)
        name, _, version = text.rpartition("/")
        if name and version.isdecimal():
            return cls(name, version=version)
        raise ValueError(f"{text!r} is neither NAME@ALIAS nor NAME/VERSION")


def check_model(settings: Settings, address: ModelAddress) -> tuple[list[str], bool]:
    """Return what to print, and whether the model can be served."""
    registry = ModelRegistry(settings.model_copy(update={"model_name": address.name}))
    version = address.version or registry.version_of(address.alias)
    if version is None:
        return [f"The registry {settings.mlflow_tracking_uri} has no {address.name}@{address.alias}."], False
    inspection = registry.inspect(address.alias or "champion", version)
    title = f"{address.name} version {version}" + (f" (flavor {inspection.flavor})" if inspection.flavor else "")
    return [title, *_describe(inspection)], not inspection.problems


def _describe(inspection: Inspection) -> list[str]:
    order = inspection.verification.order
    lines = [] if order is None else [f"  class order: {order.describe()}, by its {order.source}"]
    if inspection.problems:
        return [*lines, "  cannot be served:", *(f"  - {problem}" for problem in inspection.problems)]
    model = inspection.model
    return [*lines, f"  can be served: {len(model.names) if model else 0} features"]


def main() -> None:
    """Read the arguments, print the findings; exit code 1 when the model cannot be served."""
    parser = argparse.ArgumentParser("scripts/check_model", description="Say whether a model can be served.")
    parser.add_argument("model", type=ModelAddress.parse, help="NAME@ALIAS or NAME/VERSION")
    address = parser.parse_args().model
    warnings.simplefilter("ignore")
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    try:
        lines, is_sound = check_model(Settings(), address)
    except REGISTRY_ERRORS as error:
        lines, is_sound = [f"The registry or its store does not answer: {type(error).__name__}: {error}"], False
    print("\n".join(lines))  # noqa: T201
    sys.exit(0 if is_sound else 1)


if __name__ == "__main__":
    main()
