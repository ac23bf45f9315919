"""Random faults under load for a long time: `scripts/soak --minutes 60`. What holds is said by `faults.py`.

Every five minutes, at rest, it says what the system uses; at the end a table of Markdown for the documentation. Exit
code 1 when an answer was wrong or a ledger row is missing.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.faults import Recovery, System, Use, strike_at_random, table

ROUND_S = 300.0


def say(text: str) -> None:
    """Tell the person at the terminal."""
    print(text, flush=True)  # noqa: T201


async def soak(folder: Path, *, minutes: float, seed: int) -> int:
    """Strike for so long; the exit code."""
    recoveries: list[Recovery] = []
    deadline = time.monotonic() + 60 * minutes
    async with System.running(folder) as system:
        uses = [await system.use()]
        say(_line(0.0, uses[0]))
        while time.monotonic() < deadline:
            recoveries += await strike_at_random(system, seconds=ROUND_S, seed=seed + len(uses))
            await system.until_well()
            uses.append(await system.use())
            say(_line(minutes - (deadline - time.monotonic()) / 60, uses[-1]))
        missing = await system.missing_in_ledger()
    seen = system.seen
    say(f"\n{table(recoveries)}\n")
    say(f"{seen.n_live} live answers, {seen.n_reads} reads, {seen.n_excused} failed while a fault lasted;")
    say(f"{len(seen.violations)} contradictions or failures without excuse, {len(missing)} rows missing in the ledger.")
    for violation in seen.violations[:20]:
        say(violation)
    return 1 if seen.violations or missing else 0


def _line(minute: float, use: Use) -> str:
    return (
        f"| {minute:.0f} min | {use.rss_mb:.0f} MB | {use.n_fds} descriptors "
        f"| {use.n_keys} keys | {use.disk_mb:.0f} MB on disk |"
    )


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser("scripts/soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=18)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="touchline-soak-") as folder:
        return asyncio.run(soak(Path(folder), minutes=options.minutes, seed=options.seed))


if __name__ == "__main__":
    sys.exit(main())
