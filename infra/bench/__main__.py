"""Runs one benchmark by name: `python -m infra.bench NAME ...`."""

import argparse
from importlib import import_module

# what each measures, as `scripts/bench --help` shows it
BENCHES = {
    "first-run": "scripts/run in a clean clone with an empty HOME, and its second start",
    "start": "time to ready and memory of the API, cold, warm and at a swap",
    "drift": "a drift report of 508 features over 50,000 matches a window",
    "hops": "own functions and files that an answer runs through: live, a cold page of cards, a warm one",
    "live": "from question to answer over HTTP, beside stock arq and the floor",
    "page": "the match page: first row, a filter until it is painted, memory of a session, many sessions at once",
    "sql": "queries at POST /sql, beside the same in an open DuckDB",
    "read": "cards and lists over HTTP, cold and warm, in every form, beside pandas in memory and the floor",
}


def main() -> None:
    """Hand the arguments over to the benchmark that was named."""
    listed = "\n".join(f"  {name}: {what}" for name, what in BENCHES.items())
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=listed, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=list(BENCHES))
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    import_module(f"infra.bench.{given.name.replace('-', '_')}").main(given.arguments)


if __name__ == "__main__":
    main()
