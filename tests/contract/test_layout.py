"""The layout that keeps the code findable: no circle, one name for one thing, deep modules, SQL only with a cursor.

Each list below names what breaks a rule today. An entry that breaks it no longer fails the test too, so the lists only
shrink. `python -m tests.contract.test_layout` prints what breaks each rule now.
"""

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("app", "worker", "dashboards", "infra")
SHORT_LINES = 60
ALONE = "Alone because"
# participles and function words: as a whole name they say nothing of what comes back
BARE_WORDS = frozenset(
    """
    asked answered beside bound built checked chosen closed computed done drawn each encoded ended every fitted flushed
    found from given grouped held implied into kept known left linked made marked merged named needed of on opened
    packed parsed past picked plain ready rendered replaced said scaled seen sent served settled started stepped
    stored taken that told used vouched waiting wanted weighed with words worth written
    """.split()  # noqa: SIM905  a list of sixty lines reads worse
)

DOUBLED_CLASSES: frozenset[str] = frozenset(
    {
        "TaskStatus",
    }
)
DOUBLED_MODULES: frozenset[str] = frozenset(
    {
        "cards",
        "database",
        "drift",
        "export",
        "health",
        "live",
        "main",
        "metrics",
        "money",
        "odds",
        "page",
        "predictions",
        "redis",
        "registry",
        "results",
        "roi",
        "server",
        "settlement",
        "sql",
        "tables",
        "tasks",
    }
)
SHORT_MODULES: frozenset[str] = frozenset()
BARE_FUNCTIONS: frozenset[str] = frozenset()
EXECUTES: frozenset[str] = frozenset(
    {
        "worker.pipeline.drift.samples.model",
        "worker.pipeline.drift.samples.sample",
    }
)
CIRCLES: frozenset[str] = frozenset()
# entry points and packages have the name that Python gives them
NAMES_OF_PYTHON = frozenset({"__main__", "__init__"})


@cache
def trees() -> dict[str, ast.Module]:
    """The syntax of every module, by its dotted name."""
    return {module_name(path): ast.parse(path.read_text()) for room in ROOMS for path in (ROOT / room).rglob("*.py")}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imports() -> dict[str, frozenset[str]]:
    """The modules of ours that each module imports, also inside functions; not what is for types alone."""
    return {name: frozenset(imported(tree)) - {name} for name, tree in trees().items()}


def imported(tree: ast.Module) -> Iterator[str]:
    for node in walk_code(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in trees())
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                if whole in trees():
                    yield whole
                elif node.module in trees():
                    yield node.module


def walk_code(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those under `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)):
            yield child
            yield from walk_code(child)


def reachable(start: str) -> set[str]:
    seen: set[str] = set()
    waiting = list(imports()[start])
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(imports()[name])
    return seen


def public_functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Functions of modules and methods of classes, each with its dotted name; a property is a noun."""
    for module, tree in trees().items():
        for owner in (tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))):
            prefix = f"{module}.{owner.name}" if isinstance(owner, ast.ClassDef) else module
            for node in owner.body:
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not is_property(node):
                    yield f"{prefix}.{node.name}", node


def is_property(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any("property" in ast.unparse(decorator) for decorator in node.decorator_list)


def check(found: set[str], allowed: frozenset[str]) -> None:
    """What is found is what is allowed: nothing new, and nothing that has been mended still in the list."""
    new, mended = sorted(found - allowed), sorted(allowed - found)
    assert not new, f"these break the rule: {new}"
    assert not mended, f"these no longer break it: take them out of the list: {mended}"


def test_no_import_goes_in_a_circle() -> None:
    check({name for name in trees() if name in reachable(name)}, CIRCLES)


def test_no_class_name_exists_twice() -> None:
    names = Counter(
        node.name
        for tree in trees().values()
        for node in tree.body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    check({name for name, n in names.items() if n > 1}, DOUBLED_CLASSES)


def test_no_module_name_exists_twice() -> None:
    paths = (path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
    names = Counter(path.stem for path in paths if path.stem not in NAMES_OF_PYTHON)
    check({name for name, n in names.items() if n > 1}, DOUBLED_MODULES)


def test_a_short_module_with_one_importer_says_why_it_stands_alone() -> None:
    importers: dict[str, set[str]] = defaultdict(set)
    for name, theirs in imports().items():
        for other in theirs:
            importers[other].add(name)
    check(
        {
            name
            for name, tree in trees().items()
            if len(importers[name]) == 1
            and name.rpartition(".")[2] not in NAMES_OF_PYTHON
            and n_lines(name) < SHORT_LINES
            and ALONE not in (ast.get_docstring(tree) or "")
        },
        SHORT_MODULES,
    )


def n_lines(name: str) -> int:
    path = ROOT / Path(*name.split("."))
    return len((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text().splitlines())


def test_no_public_function_is_a_bare_participle_or_function_word() -> None:
    check({name for name, node in public_functions() if node.name in BARE_WORDS}, BARE_FUNCTIONS)


def test_sql_runs_only_where_a_cursor_or_connection_is_given() -> None:
    """A function that finds its own connection may run on the event loop without anybody seeing it."""
    found = set()
    for module, tree in trees().items():
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and executes_elsewhere(function):
                found.add(f"{module}.{function.name}")
    check(found, EXECUTES)


def executes_elsewhere(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether it calls `.execute(` on what is neither an argument nor opened within it."""
    known = {argument.arg for argument in ast.walk(function) if isinstance(argument, ast.arg)} - {"self", "cls"}
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            known.add(node.id)
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "execute"
        and not (isinstance(node.func.value, ast.Name) and node.func.value.id in known)
        for node in ast.walk(function)
    )


def print_offenders() -> None:
    """Print what each rule finds, ready for its list."""
    tests = [test for name, test in globals().items() if name.startswith("test_")]
    for test in tests:
        try:
            test()
        except AssertionError as error:
            print(f"{test.__name__}: {error}")  # noqa: T201


if __name__ == "__main__":
    print_offenders()
