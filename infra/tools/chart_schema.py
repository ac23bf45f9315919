"""Writes what app/settings.py knows into the chart's values.schema.json: `python -m infra.tools.chart_schema`."""

import json
from pathlib import Path
from typing import Any

from app.settings import Settings

SCHEMA = Path(__file__).parents[1] / "helm" / "touchline" / "values.schema.json"
# the chart sets these itself: they must agree with its ports, mounts and Services
MANAGED = frozenset(
    {
        "APP_ALLOW_PUBLIC",
        "APP_HOST",
        "APP_PORT",
        "API_URL",
        "ARTIFACTS_URI",
        "DASHBOARD_ALLOW_PUBLIC",
        "DASHBOARD_HOST",
        "DASHBOARD_PORT",
        "TOUCHLINE_HOME",
        "WORKER_METRICS_HOST",
        "WORKER_METRICS_PORT",
        "WORKER_PROCESSES",
    }
)
# kinds and bounds; a reworded description is no reason to write the file again
KEPT = ("type", "enum", "pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


def updated(schema: dict[str, Any]) -> dict[str, Any]:
    """The same schema with the settings of today."""
    config, secret = sections()
    properties = {**schema["properties"], "config": section(config), "secret": section(secret)}
    return {**schema, "properties": properties}


def sections() -> tuple[dict[str, Any], dict[str, Any]]:
    """What may stand in a ConfigMap, and what may not."""
    settings = {name.upper(): kind(field) for name, field in Settings.model_json_schema()["properties"].items()}
    free = {name: field for name, field in sorted(settings.items()) if name not in MANAGED}
    config = {name: trimmed(field) for name, field in free.items() if not field.get("writeOnly")}
    return config, {name: trimmed(field) for name, field in free.items() if field.get("writeOnly")}


def kind(field: dict[str, Any]) -> dict[str, Any]:
    """A setting that may be left out is left out, never null."""
    kinds = [option for option in field.get("anyOf", ()) if option.get("type") != "null"]
    return {**kinds[0], **field} if kinds else field


def trimmed(field: dict[str, Any]) -> dict[str, Any]:
    """Only what helm checks."""
    kept = {key: field[key] for key in KEPT if key in field}
    return {**kept, "items": trimmed(field["items"])} if "items" in field else kept


def section(properties: dict[str, Any]) -> dict[str, Any]:
    """An object that refuses a name nobody reads."""
    return {"type": "object", "additionalProperties": False, "properties": properties}


def main() -> None:
    """Rewrite the file."""
    SCHEMA.write_text(json.dumps(updated(json.loads(SCHEMA.read_text())), indent=2) + "\n")


if __name__ == "__main__":
    main()
