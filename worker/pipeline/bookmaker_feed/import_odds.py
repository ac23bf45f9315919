"""Imports a bookmaker's line: feed files and the matches in, linked odds (a file, or published) and a report out."""

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from importlib.resources import files
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from app.artifacts.contract import MANIFEST, ODDS, PRICES
from app.settings import Settings
from worker.pipeline.atomic_file import replace_file, write_text
from worker.pipeline.bookmaker_feed.fonbet import BadFeed, OddsFeed, read_feed
from worker.pipeline.bookmaker_feed.linking import EventLink, Linker, OurMatch, Spellings
from worker.pipeline.failures import BuildStopped
from worker.pipeline.ingest import dates
from worker.pipeline.output.history import EarlierHistory, extend_history
from worker.pipeline.output.publication import FolderChanged, republish

BOOKMAKER = "Fonbet"
_SPELLINGS = "fonbet_spellings.json"
_PREDICTIONS = Path("predictions") / "predictions.parquet"
_COLUMNS = ["match_id", "kickoff_utc", "region", "home_team", "away_team"]
_INSTANT = pa.timestamp("us", tz="UTC")
_TYPES: dict[str, pa.DataType] = {
    "match_id": pa.int64(),
    "odds_home": pa.float64(),
    "odds_draw": pa.float64(),
    "odds_away": pa.float64(),
    "bookmaker": pa.string(),
    "event_url": pa.string(),
    "captured_at": _INSTANT,
}
_SCHEMA = pa.schema(_TYPES)


@dataclass(frozen=True, slots=True)
class OddsImport:
    """The linked odds, every link tried, and the feed's events that had no price to link."""

    odds: pa.Table
    links: Sequence[EventLink]
    skipped: Counter[str]
    captured_at: datetime

    def counts(self) -> Counter[str]:
        """Matches of the feed by what became of them."""
        return Counter(link.reason for link in self.links)

    def as_dict(self) -> dict[str, object]:
        """The report as JSON shows it."""
        return {
            "bookmaker": BOOKMAKER,
            "captured_at": self.captured_at.isoformat(),
            "matches_in_feed": len(self.links),
            "counts": dict(sorted(self.counts().items())),
            "skipped_in_feed": dict(sorted(self.skipped.items())),
            "links": [link.as_dict() for link in self.links],
        }


def spellings() -> Spellings:
    """The bookmaker's spellings that come with the program."""
    known = json.loads(files("worker.pipeline.bookmaker_feed").joinpath(_SPELLINGS).read_text("utf-8"))
    return Spellings({name.casefold(): region for name, region in known["countries"].items()}, known["clubs"])


def import_feed(feed: OddsFeed, matches: Path, captured_at: datetime) -> OddsImport:
    """Link a feed to the matches of a table or an artifacts folder."""
    links = Linker(_our_matches(matches), spellings()).link_all(feed.matches, captured_at)
    return OddsImport(_odds_of(links, captured_at), links, feed.skipped, captured_at)


def _our_matches(path: Path) -> list[OurMatch]:
    table = pq.read_table(path / _PREDICTIONS if path.is_dir() else path, columns=_COLUMNS)
    return [OurMatch(*row) for row in zip(*(table[name].to_pylist() for name in _COLUMNS), strict=True)]


def _odds_of(links: Sequence[EventLink], captured_at: datetime) -> pa.Table:
    rows = [
        {
            "match_id": link.match.match_id,
            "odds_home": link.line.odds[0],
            "odds_draw": link.line.odds[1],
            "odds_away": link.line.odds[2],
            "bookmaker": BOOKMAKER,
            "event_url": None,  # the feed holds no address, and one made up might lead nowhere
            "captured_at": captured_at,
        }
        for link in sorted(links, key=lambda each: each.match.match_id if each.match else 0)
        if link.match
    ]
    return pa.Table.from_pylist(rows, _SCHEMA)


def merge_odds(published: pa.Table, linked: pa.Table) -> pa.Table:
    """The published odds with the linked ones in the place of those of their matches; what the feed has not stays."""
    ids = published["match_id"]
    kept = published.filter(pc.invert(pc.is_in(ids, value_set=linked["match_id"])))
    own = [name for name in published.column_names if name not in linked.column_names]
    replacing = linked.join(published.select(["match_id", *own]), "match_id", join_type="left outer")
    table = pa.concat_tables([kept, replacing.select(published.column_names).cast(published.schema)])
    # matches that had no odds come last
    place = pc.fill_null(pc.index_in(table["match_id"], value_set=ids), len(published))
    return table.take(pc.sort_indices(place))


def merge_prices(published: pa.Table, linked: pa.Table) -> pa.Table:
    """The published prices of all bookmakers with the linked ones in the place of those of their bookmaker."""
    is_replaced = pc.and_(
        pc.is_in(published["match_id"], value_set=linked["match_id"]),
        pc.and_(pc.equal(published["bookmaker"].cast(pa.string()), BOOKMAKER), pc.equal(published["kind"], "offer")),
    )
    renamed = linked.rename_columns([{"event_url": "url"}.get(name, name) for name in linked.column_names])
    offers = renamed.append_column("kind", pa.repeat("offer", len(linked)))
    own = [name for name in published.column_names if name not in offers.column_names]
    for name in own:
        offers = offers.append_column(name, pa.nulls(len(offers), published.schema.field(name).type))
    rows = offers.select(published.column_names).cast(published.schema)
    return pa.concat_tables([published.filter(pc.invert(is_replaced)), rows])


def default_capture(paths: Sequence[Path], now: datetime) -> datetime:
    """Return when the newest of the files was taken, by its name or else by when it was written.

    A name with a day and no clock proves no more than that the day was not over: the file counts from its end, or from
    when it was written, if that was on that day. Nothing counts from the future.
    """
    return min(max(_captured(path) for path in paths), now)


_CLOCK_IN_NAME = re.compile(r"\d{4}-\d\d-\d\d[T_ -](\d\d)[-:_.h]?(\d\d)(?:[-:_.]?(\d\d))?(?!\d)")


def _captured(path: Path) -> datetime:
    day = dates.iso_date_in(path.name)
    if day is None:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    clock = _CLOCK_IN_NAME.search(path.name)
    if clock and int(clock[1]) < 24 and int(clock[2]) < 60 and int(clock[3] or 0) < 60:
        return datetime.combine(day, time(int(clock[1]), int(clock[2]), int(clock[3] or 0)), UTC)
    if path.exists():
        written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        if written.date() == day:
            return written
    return datetime.combine(day + timedelta(days=1), time(0), UTC)


def counts_table(result: OddsImport) -> Table:
    """What a person sees at the end."""
    table = Table(title="Fonbet's line", title_justify="left")
    table.add_column("football matches")
    table.add_column("count", justify="right")
    for reason, count in sorted(result.counts().items()):
        table.add_row(reason.replace("_", " "), f"{count:,}")
    for reason, count in sorted(result.skipped.items()):
        table.add_row(f"not in the line: {reason.replace('_', ' ')}", f"{count:,}")
    return table


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="import_fonbet", description="Link Fonbet's line to our matches.")
    parser.add_argument("feed", nargs="+", type=Path, help="feed files: a snapshot and its increments, gzipped or not")
    parser.add_argument("--matches", type=Path, help="matches.parquet, or an artifacts folder (default: --into's)")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--into", type=Path, help="artifacts folder whose odds of the linked matches are replaced")
    target.add_argument("--out", type=Path, help="parquet file of just the linked odds")
    parser.add_argument("--captured-at", type=datetime.fromisoformat, help="ISO instant at which the feed was taken")
    parser.add_argument("--report", type=Path, help="JSON file with every link and every reason")
    options = parser.parse_args(arguments)
    options.matches = options.matches or options.into
    if options.matches is None:
        parser.error("--out needs --matches")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the import; the exit code is 1 when something cannot be read, or the odds cannot be put there."""
    options = _arguments(arguments)
    captured_at = options.captured_at or default_capture(options.feed, datetime.now(UTC))
    if captured_at.tzinfo is None:
        captured_at = captured_at.replace(tzinfo=UTC)
    try:
        result = import_feed(read_feed(options.feed), options.matches, captured_at)
        _put(result.odds, options.into, options.out, Settings().bookmaker)
    except (BadFeed, BuildStopped, OSError, pa.ArrowInvalid) as fault:
        Console(stderr=True).print(f"Nothing imported: {fault}", markup=False, soft_wrap=True)
        return 1
    if options.report is not None:
        _write_report(result, options.report)
    Console().print(counts_table(result))
    return 0


def _put(odds: pa.Table, into: Path | None, out: Path | None, bookmaker: str | None) -> None:
    if out is not None:
        _write_alone(odds, out)
    elif into is not None and len(odds):
        is_own = bookmaker in {None, BOOKMAKER}
        republish(
            into,
            lambda staged, manifest: _add(odds, staged, EarlierHistory.of_folder(into, manifest), is_own=is_own),
        )


def _add(linked: pa.Table, staged: Path, earlier: EarlierHistory, *, is_own: bool) -> FolderChanged:
    """Put linked odds among the prices of all bookmakers and, of the bookmaker one bets with, beside the odds.

    A folder with a history gets them into that, and what then stands.
    """
    changed = [ODDS]
    if is_own:
        _rewrite(staged / ODDS, merge_odds(pq.read_table(staged / ODDS), linked))
    if (staged / PRICES).is_file():
        changed.append(PRICES)
        _rewrite(staged / PRICES, merge_prices(pq.read_table(staged / PRICES), linked))
    before = set(staged.glob("history/*/*/*"))
    until = extend_history(staged, earlier, datetime.now(UTC)) if earlier.parts else None
    added = set(staged.glob("history/*/*/*")) - before
    names = [*changed, *(part.relative_to(staged).as_posix() for part in sorted(added))]
    return FolderChanged({name: pq.read_metadata(staged / name).num_rows for name in names}, until)


def _rewrite(path: Path, table: pa.Table) -> None:
    # it is a link to the published file
    path.unlink()
    pq.write_table(table, path, compression="zstd")


def _write_alone(odds: pa.Table, out: Path) -> None:
    for folder in out.resolve().parents:
        if (folder / MANIFEST).is_file():
            raise BuildStopped(f"{out} lies in {folder}, whose {MANIFEST} vouches for other odds: use --into {folder}.")
    with replace_file(out) as part:
        pq.write_table(odds, part)


def _write_report(result: OddsImport, report: Path) -> None:
    write_text(report, json.dumps(result.as_dict(), ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
