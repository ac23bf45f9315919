"""Snapshots as database files that are only ever read, made once each and kept in a cache."""

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path

from app import __version__
from app.artifacts.contract import FEATURES
from app.store.database import Connection, to_sql
from app.store.snapshot import Snapshot

FILE = "data.duckdb"
_BASE: Mapping[str, str] = {
    "predictions": "predictions_with_own_columns",
    "odds": "odds_with_own_columns",
    "prices": "prices",
    "cards": "cards",
    "region_roi": "roi_by_region",
}
_FEATURES: Mapping[str, str] = {"features": "features"}
_KEPT = 2  # of each kind: the one in use, and the one that a process may be about to open
_ABANDONED_AFTER_S = 86_400.0
_BUILD_TIMEOUT_S = 900.0  # 1,000,000 rows of 508 features take about 40 s


class Databases:
    """Makes what is missing, one at a time; several processes may share the cache."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._turn = asyncio.Lock()

    async def get_files(self, snapshot: Snapshot, sql: str) -> dict[str, Path]:
        """The databases that the query needs, by name; features, which are large, only where it names them."""
        found = {"snapshot": await self._get_file(snapshot, "base", _base_key(snapshot), _BASE)}
        if "features" in sql.lower():
            key = _digest(snapshot.manifest.files[FEATURES].sha256)
            found["features_of_snapshot"] = await self._get_file(snapshot, "features", key, _FEATURES)
        return found

    async def _get_file(self, snapshot: Snapshot, kind: str, key: str, tables: Mapping[str, str]) -> Path:
        home = self._cache / f"{kind}-{key}"
        async with self._turn:
            if not await asyncio.to_thread(_touch, home):
                part = await asyncio.to_thread(_new_part, self._cache)
                await snapshot.database.run(
                    lambda cursor: _copy(cursor, part / FILE, tables), timeout_s=_BUILD_TIMEOUT_S
                )
                await asyncio.to_thread(_publish, part, home)
                await asyncio.to_thread(_forget_old, self._cache, kind)
        return home / FILE


def _base_key(snapshot: Snapshot) -> str:
    # the cards depend on the rules, and on the code that made them
    return _digest(f"{__version__} {snapshot.id} {snapshot.rules!r}")


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=12).hexdigest()


def _touch(home: Path) -> bool:
    try:
        os.utime(home)
    except FileNotFoundError:
        return False
    return (home / FILE).exists()


def _new_part(cache: Path) -> Path:
    cache.mkdir(parents=True, exist_ok=True)
    for part in cache.glob("building-*"):
        if time.time() - part.stat().st_mtime > _ABANDONED_AFTER_S:
            shutil.rmtree(part, ignore_errors=True)
    return Path(tempfile.mkdtemp(dir=cache, prefix="building-"))


def _copy(cursor: Connection, path: Path, tables: Mapping[str, str]) -> None:
    cursor.execute(f"ATTACH {to_sql(str(path))} AS copied")
    try:
        for name, source in tables.items():
            cursor.execute(f"CREATE TABLE copied.{name} AS FROM {source}")
        cursor.execute("CHECKPOINT copied")
    finally:
        cursor.execute("DETACH copied")


def _publish(part: Path, home: Path) -> None:
    """Name it when it is whole, and let nobody write to it again, not even through an open folder."""
    (part / FILE).chmod(0o444)
    try:
        part.rename(home)
    except OSError:
        # another process was faster
        shutil.rmtree(part, ignore_errors=True)
    home.chmod(0o555)


def _forget_old(cache: Path, kind: str) -> None:
    newest_first = sorted(cache.glob(f"{kind}-*"), key=lambda home: home.stat().st_mtime, reverse=True)
    for home in newest_first[_KEPT:]:
        home.chmod(0o755)
        shutil.rmtree(home, ignore_errors=True)
