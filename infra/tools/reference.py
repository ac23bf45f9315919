"""Write the tables of the documentation that come from code: `python -m infra.tools.reference [--check]`.

A page holds a table between `<!-- generated: NAME -->` and `<!-- end -->`. The tables stand in the pages, so that a
reader of a plain checkout sees them too. A test compares them with the code.
"""

import argparse
import configparser
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from app import errors
from app.api.openapi import document
from app.api.problems import HTTP_CODES
from app.api.routes import ROUTES
from app.settings import Settings
from app.telemetry.api_metrics import Metrics
from app.telemetry.page import PageMetrics
from worker.metrics import PoolMetrics

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "infra" / "docs"
_BLOCK = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
Json = dict[str, Any]


def write_pages(folder: Path = PAGES) -> list[Path]:
    """Bring every generated table up to date and return the pages that changed."""
    changed = []
    for path, text in find_stale_pages(folder):
        path.write_text(text, encoding="utf-8")
        changed.append(path)
    return changed


def find_stale_pages(folder: Path = PAGES) -> Iterator[tuple[Path, str]]:
    """Yield each page whose tables are not those of the code, with the text that it should have."""
    for path in sorted(folder.rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        current = _BLOCK.sub(lambda match: f"{match[1]}\n{TABLES[match[2]]().strip()}\n\n{match[3]}", text)
        if current != text:
            yield path, current


def _table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    names = list(header)
    lines = [names, ["---"] * len(names), *([_cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def _code(text: object) -> str:
    return f"`{text}`" if str(text) else ""


def endpoint_table() -> str:
    """Return every route with the scope that it needs and its summary."""
    rows = ((_code(f"{r.method} {r.path}"), _code(r.scope) if r.scope else "none", r.summary) for r in ROUTES)
    return _table(("method and path", "scope", "answer"), rows)


def problem_table() -> str:
    """Return every code of a problem with its status."""
    expected = [(error.status, error.code, error.title) for error in _service_errors()]
    protocol = [(status, code, code.replace("-", " ").capitalize()) for status, code in HTTP_CODES.items()]
    rows = sorted([*expected, *protocol, (500, "internal-error", "Internal error")])
    return _table(
        ("status", "`code`", "`type`", "meaning"),
        ((status, _code(code), _code(f"urn:problem:{code}"), title) for status, code, title in rows),
    )


def _service_errors() -> list[type[errors.ServiceError]]:
    return [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.ServiceError) and value is not errors.ServiceError
    ]


def settings_table() -> str:
    """Return every setting with its default and meaning."""
    rows = (
        (_code(name.upper()), _code(_default(field.get_default())), field.description or "")
        for name, field in Settings.model_fields.items()
    )
    return _table(("variable", "default", "meaning"), rows)


def _default(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        return json.dumps(value)
    secret = getattr(value, "get_secret_value", None)
    return str(secret() if secret else value)


def metrics_table() -> str:
    """Return every metric with the processes that serve it."""
    served: dict[str, tuple[str, str, list[str]]] = {}
    for process, metrics in (("API", Metrics()), ("worker pool", PoolMetrics()), ("match page", PageMetrics())):
        for name, family in metrics.registry.families.items():
            served.setdefault(name, (", ".join(family.labels), family.doc, []))[2].append(process)
    rows = ((_code(n), ", ".join(processes), labels, doc) for n, (labels, doc, processes) in sorted(served.items()))
    return _table(("metric", "from", "labels", "meaning"), rows)


def script_table() -> str:
    """Return every script with the comment that stands below its first line."""
    paths = sorted(path for path in (ROOT / "scripts").iterdir() if path.is_file())
    return _table(("script", "does"), ((_code(f"scripts/{path.name}"), _script_comment(path)) for path in paths))


def _script_comment(path: Path) -> str:
    return path.read_text(encoding="utf-8").splitlines()[1].removeprefix("# ")


def test_table() -> str:
    """Return every tox environment with its description."""
    tox = configparser.ConfigParser()
    tox.read(ROOT / "tox.ini")
    environments = [name for name in tox.sections() if name.startswith("testenv:")]
    rows = ((_code(name.partition(":")[2]), tox[name].get("description", "")) for name in environments)
    return _table(("environment", "checks"), rows)


def http_reference() -> str:
    """Return each operation with its parameters and answers, then each schema with its fields."""
    description = document(ROUTES)
    operations = (
        _operation(method.upper(), path, operation)
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    )
    schemas = description["components"]["schemas"]
    return "\n\n".join([*operations, "## Schemas", *(_schema(name, schemas[name]) for name in sorted(schemas))])


def _operation(method: str, path: str, operation: Json) -> str:
    parts = [f"## {method} {path}", operation["summary"]]
    if "description" in operation:
        parts.append(operation["description"])
    if operation["parameters"]:
        rows = ((_code(p["name"]), p["in"], *_described(p)) for p in operation["parameters"])
        parts.append(_table(("parameter", "in", "type", "meaning"), rows))
    if "requestBody" in operation:
        parts.append(f"Body: {_type(operation['requestBody']['content']['application/json']['schema'])}.")
    answers = ((status, answer["description"], _content(answer)) for status, answer in operation["responses"].items())
    parts.append(_table(("status", "when", "content"), answers))
    return "\n\n".join(parts)


def _described(parameter: Json) -> tuple[str, str]:
    schema = parameter["schema"]
    notes = [parameter.get("description", schema.get("description", ""))]
    if schema.get("default") not in (None, "", []):
        notes.append(f"default `{schema['default']}`")
    required = ", required" if parameter.get("required") else ""
    return _type(schema) + required, "; ".join(note for note in notes if note)


def _content(answer: Json) -> str:
    kinds = []
    for media, content in answer.get("content", {}).items():
        schema = content.get("schema")
        kinds.append(f"`{media}`" + (f" {_type(schema)}" if schema else ""))
    return "; ".join(kinds)


def _schema(name: str, schema: Json) -> str:
    parts = [f"### {name}"]
    if "description" in schema:
        parts.append(schema["description"])
    if "properties" in schema:
        rows = ((_code(n), _type(member), member.get("description", "")) for n, member in schema["properties"].items())
        parts.append(_table(("field", "type", "meaning"), rows))
    elif "enum" in schema:
        parts.append(f"One of {', '.join(_code(value) for value in schema['enum'])}.")
    return "\n\n".join(parts)


def _type(schema: Mapping[str, Any]) -> str:
    """Say a JSON schema in words; a named one as a link."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(option) for option in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(_code(value) for value in schema["enum"])
    if "const" in schema:
        return _code(schema["const"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return str(schema.get("format") or schema.get("type") or "any") + _bounds(schema)


def _bounds(schema: Mapping[str, Any]) -> str:
    words = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    found = [f"{sign} {schema[word]}" for word, sign in words.items() if word in schema]
    return f" ({', '.join(found)})" if found else ""


TABLES: Mapping[str, Callable[[], str]] = {
    "endpoints": endpoint_table,
    "problems": problem_table,
    "settings": settings_table,
    "metrics": metrics_table,
    "scripts": script_table,
    "tests": test_table,
    "http": http_reference,
}


def main() -> int:
    """Write the tables, or with --check say which pages are behind the code."""
    parser = argparse.ArgumentParser(description="Write the tables of the documentation that come from code.")
    parser.add_argument("--check", action="store_true", help="change nothing; fail when a page is behind the code")
    is_check = parser.parse_args().check
    pages = [path for path, _text in find_stale_pages()] if is_check else write_pages()
    for path in pages:
        sys.stdout.write(f"{path.relative_to(ROOT)}\n")
    return int(is_check and bool(pages))


if __name__ == "__main__":
    sys.exit(main())
