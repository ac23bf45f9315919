"""Check the scripts of the match page with the tools of `infra/javascript`: `python -m infra.tools.javascript`."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "infra" / "javascript"
ASSETS = "dashboards/assets"
TESTS = "tests/dashboards/javascript"
STAMP = TOOLS / "node_modules" / ".lock-sha256"  # the lock that is installed


def list_commands() -> list[list[str]]:
    """Return the four checks: rules, layout, types, unit tests."""
    programs = TOOLS / "node_modules" / ".bin"
    scripts = [f"{folder}/*.js" for folder in (ASSETS, TESTS, "infra/javascript")]
    tests = sorted(str(path.relative_to(ROOT)) for path in (ROOT / TESTS).glob("*.test.js"))
    return [
        [str(programs / "eslint"), "--config", "infra/javascript/eslint.config.js", "--max-warnings=0", ASSETS, TESTS],
        [str(programs / "prettier"), "--config", "infra/javascript/prettier.json", "--check", *scripts],
        [str(programs / "tsc"), "--project", "infra/javascript"],
        ["node", "--test", *tests],
    ]


def install() -> int:
    """Install the locked tools, unless they are there; return the exit code of npm."""
    lock = hashlib.sha256((TOOLS / "package-lock.json").read_bytes()).hexdigest()
    if STAMP.is_file() and STAMP.read_text() == lock:
        return 0
    code = subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=TOOLS, check=False
    ).returncode
    if code == 0:
        STAMP.write_text(lock)
    return code


def main() -> int:
    """Run every check, also after one has failed; return 1 if any failed."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        sys.stderr.write("The scripts of the page cannot be checked: install Node.js 20.19 or newer, with npm.\n")
        return 1
    if install() != 0:
        return 1
    codes = [subprocess.run(command, cwd=ROOT, check=False).returncode for command in list_commands()]
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main())
