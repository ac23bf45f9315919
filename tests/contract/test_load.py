"""The load test asks for endpoints and filters that there are."""

import ast
from pathlib import Path

from pydantic import TypeAdapter

from app.api.routes import ROUTES
from app.schemas import CardsQuery

FILE = Path(__file__).parents[1] / "load" / "locustfile.py"
TREE = ast.parse(FILE.read_text())


def test_each_path_is_a_route() -> None:
    words = [node.value for node in ast.walk(TREE) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    paths = {word for word in words if word.startswith("/predict/")}
    assert len(paths) > 5
    assert paths <= {route.path for route in ROUTES}


def test_each_filter_is_one_that_cards_take() -> None:
    (filters,) = [
        node.value for node in TREE.body if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "FILTERS"
    ]
    assert filters is not None
    several = {"region", "tournament", "status"}
    for given in ast.literal_eval(filters):
        listed = {name: [value] if name in several else value for name, value in given.items()}
        TypeAdapter(CardsQuery).validate_python(listed)
