"""`scripts/check_model` says all that is wrong with a model in one run."""

import sys

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tests.support.models import NAME, TinyRegistry, tiny_booster
from worker.check_model import ModelAddress, main

pytestmark = pytest.mark.timeout(600)  # the first test imports MLflow and makes the registry


@pytest.fixture
def check(registry: TinyRegistry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run the command; its exit code and output."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.uri)

    def run(model: str) -> tuple[int | str | None, str]:
        monkeypatch.setattr(sys, "argv", ["scripts/check_model", model])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code, capsys.readouterr().out

    return run


def test_model_that_can_be_served(registry: TinyRegistry, check) -> None:
    code, output = check(f"{NAME}@champion")
    assert code == 0
    assert "class order: home, draw, away, by its golden rows" in output
    assert "can be served: 6 features" in output


def test_class_order_of_a_turned_model_is_told(registry: TinyRegistry, check) -> None:
    version = registry.add_flavor("xgboost", tiny_booster(), tags={"class_order": "away,draw,home"})
    code, output = check(f"{NAME}/{version}")
    assert code == 0
    assert "class order: away, draw, home, by its tag class_order" in output


def test_all_problems_are_told(registry: TinyRegistry, check) -> None:
    rows = np.random.default_rng(1).normal(size=(60, 6))
    fitted = LogisticRegression().fit(rows, np.arange(60) % 3)
    version = registry.add_sklearn(fitted, golden="{", trained_until="yesterday")
    code, output = check(f"{NAME}/{version}")
    assert code == 1
    for reason in ("cannot be served:", "golden.json is malformed", "trained_until='yesterday'", "put an imputer"):
        assert reason in output


@pytest.mark.parametrize("model", [f"{NAME}@nobody", "no-such-model@champion"])
def test_absent_model_is_told(check, model: str) -> None:
    code, output = check(model)
    assert (code, f"has no {model}." in output) == (1, True)


def test_absent_version_is_told(check) -> None:
    code, output = check(f"{NAME}/9999")
    assert (code, "does not answer" in output or "not found" in output) == (1, True)


@pytest.mark.parametrize("text", ["champion", "@champion", "name@", "name/latest", "/3", ""])
def test_address_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="neither"):
        ModelAddress.parse(text)
