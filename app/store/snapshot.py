"""One version of the artifacts, opened for reading; nothing in it ever changes."""

import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.artifacts import contract
from app.artifacts.manifest import Manifest, read_manifest
from app.domain.consensus import PoolWeights
from app.domain.vocabulary import EdgeFrom
from app.store.database import Connection, Database, QueryLimiter, open_connection
from app.store.features import FeatureRows, open_features
from app.store.lru import CountCache, RefCountedCache
from app.store.money import MoneyRules
from app.store.odds import Prices, read_prices
from app.store.response_cache import ResponseCache
from app.store.row_files import RowFile, RowFiles, RowSource
from app.store.tables import fill_from_folder

_PAST_ROWS = 500_000  # cards of earlier times kept as tables: about half a gigabyte


@dataclass(frozen=True, slots=True)
class OpenRules:
    """How snapshots are opened."""

    money: MoneyRules = field(default_factory=MoneyRules)
    query_threads: int = 2
    query_memory: str = "2GB"
    query_timeout_s: float = 10.0
    limiter: QueryLimiter = field(default_factory=QueryLimiter)
    feature_cache: Path = Path("var/cache/features")
    row_sources: tuple[RowSource, ...] = ()  # what is written to files as JSON


class BrokenArtifacts(Exception):
    """The artifacts do not keep the contract; the message says what is wrong."""

    def __init__(self, faults: tuple[contract.ContractFault, ...]) -> None:
        self.faults = faults
        first = "; ".join(f"{fault.file}: {fault.detail}" for fault in faults[:3])
        # files that are not the ones the manifest names, whatever is in them
        self.is_damage = any(fault.code in {"wrong-size", "wrong-checksum"} for fault in faults)
        super().__init__(first + (f" (and {len(faults) - 3} more)" if len(faults) > 3 else ""))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The open artifacts: a database with the table `cards`, the feature rows, and where it all came from.

    `row_files` is None for what was known at an earlier time: the files tell of now.
    """

    id: str
    manifest: Manifest
    folder: Path
    database: Database
    features: FeatureRows
    prices: Prices
    rules: MoneyRules
    weights: tuple[PoolWeights, ...]  # of the consensus
    n_matches: int
    n_odds: int
    bookmaker: str
    opened_at: datetime
    row_files: RowFiles | None = None
    response_cache: ResponseCache = field(default_factory=ResponseCache)
    count_cache: CountCache = field(default_factory=CountCache)
    as_of_cache: "RefCountedCache[Snapshot]" = field(
        default_factory=lambda: RefCountedCache(_PAST_ROWS, lambda then: then.n_matches)
    )

    def facts(self, *, stale: bool) -> Mapping[str, Any]:
        """What every answer says of its origin: the same from every process that holds these artifacts."""
        return {
            "id": self.id,
            "source": self.manifest.source,
            "simulated": self.manifest.simulated,
            "has_manifest": not self.manifest.is_derived,
            "built_at": self.manifest.built_at,
            "data_until": self.manifest.data_until,
            "stale": stale,
        }

    def row_file(self, name: str) -> RowFile | None:
        """Return rows that are written as JSON; None until they are."""
        return self.row_files.get(name) if self.row_files is not None else None

    @property
    def edge_from(self) -> EdgeFrom:
        """Whose probabilities edges, stakes and value bets come from."""
        return self.rules.read_edge_from(self.weights)

    def close(self) -> None:
        """Close the database and drop the files."""
        self.features.close()  # first: the row files wait for it
        if self.row_files is not None:
            self.row_files.close()
        self.database.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def open_snapshot(snapshot_id: str, folder: Path, rules: OpenRules) -> Snapshot:
    """Check a private folder of artifacts and open it; BrokenArtifacts when it does not keep the contract."""
    manifest = read_manifest(folder)
    connection = open_connection(threads=rules.query_threads, memory=rules.query_memory, spill=folder / "spill")
    try:
        # one that was derived has just taken the checksums
        _fill_checked(connection, folder, manifest.built_at, rules.money, checksums=not manifest.is_derived)
        n_matches, n_odds, bookmaker = count_matches(connection)
        prices, weights = read_prices(connection), contract.read_consensus(folder)
        sha256 = manifest.files[contract.FEATURES].sha256
        features = open_features(folder / contract.FEATURES, sha256, rules.feature_cache)
    except BaseException:
        connection.close()
        raise
    row_files = RowFiles(folder / "rows", connection, rules.row_sources)
    row_files.start(after=features.wait_until_built)
    return Snapshot(
        id=snapshot_id,
        manifest=manifest,
        folder=folder,
        database=Database(connection, rules.limiter, timeout_s=rules.query_timeout_s),
        features=features,
        prices=prices,
        rules=rules.money,
        weights=weights,
        n_matches=n_matches,
        n_odds=n_odds,
        bookmaker=bookmaker,
        opened_at=datetime.now(UTC),
        row_files=row_files,
    )


def _fill_checked(connection: Connection, folder: Path, at: datetime, rules: MoneyRules, *, checksums: bool) -> None:
    """Build the tables while the contract is checked: neither waits for the other."""
    with ThreadPoolExecutor(1, thread_name_prefix="contract") as checker:
        checking = checker.submit(contract.check, folder, checksums=checksums)
        try:
            fill_from_folder(connection, folder, at, rules)
        finally:
            # what the contract says is worth more than what the tables stumbled over
            faults = checking.result()
            if faults:
                raise BrokenArtifacts(faults)


def count_matches(connection: Connection) -> tuple[int, int, str]:
    """How many cards there are, how many have odds, and whose most odds are."""
    sql = "SELECT count(*), count(odds_home), coalesce(mode(bookmaker), 'none') FROM cards"
    n_matches, n_odds, bookmaker = connection.execute(sql).fetchall()[0]
    return n_matches, n_odds, bookmaker
