"""The file for rows that PostgreSQL refuses: nothing is thrown away, and nothing waits for them."""

from collections.abc import Sequence
from pathlib import Path

import orjson
import structlog

from app.ledger.chain import Chain
from app.ledger.writer import Refused

log = structlog.get_logger(__name__)


class Aside:
    """One JSON line a row: the table, why it was refused, and its values."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rows = 0  # refused since this process began

    def keep(self, chain: Chain, refused: Sequence[Refused]) -> None:
        """Append them; blocks. OSError when the file cannot be written, and then the rows are still in the journal."""
        if not refused:
            return
        with self._path.open("ab") as file:
            file.writelines(_line(chain, each) for each in refused)
        self.rows += len(refused)
        log.error("the database refuses ledger rows", table=chain.table, rows=len(refused), kept_in=str(self._path))


def _line(chain: Chain, refused: Refused) -> bytes:
    row = dict(zip(chain.columns, refused.values, strict=True))
    # repr: the row may be refused because of what JSON cannot hold either
    return orjson.dumps(
        {"table": chain.table, "reason": refused.reason, "row": row}, default=repr, option=orjson.OPT_APPEND_NEWLINE
    )
