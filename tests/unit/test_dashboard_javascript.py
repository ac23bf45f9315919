import subprocess
import sys
from pathlib import Path

from infra.tools import javascript

ROOT = Path(__file__).parents[2]


def test_without_npm_the_check_says_what_to_install(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "infra.tools.javascript"],
        cwd=ROOT,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "The scripts of the page cannot be checked: install Node.js 20.19 or newer, with npm.\n"


def test_every_script_of_the_page_and_every_test_of_them_is_checked() -> None:
    eslint, prettier, _, tests = javascript.list_commands()
    assert "dashboards/assets" in eslint
    assert "dashboards/assets/*.js" in prettier
    folder = ROOT / "tests/dashboards/javascript"
    assert tests[2:] == sorted(str(path.relative_to(ROOT)) for path in folder.iterdir())
