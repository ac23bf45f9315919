"""Builds small folders of published results, gzipped when the name says so."""

import gzip
from pathlib import Path
from typing import Any

from worker.pipeline.ingest.reader import Ingest

HEAD = "Div,Date,Time,HomeTeam,AwayTeam,FTHG,FTAG,FTR,B365H,B365D,B365A,AvgCH,AvgCD,AvgCA"
NEW_HEAD = "Country,League,Season,Date,Time,Home,Away,HG,AG,Res,PSCH,PSCD,PSCA"
LIST_HEAD = "Div,Date,Time,HomeTeam,AwayTeam,B365H,B365D,B365A"
GOOD = "E0,16/08/2024,20:00,Man United,Fulham,1,0,H,1.6,4.2,5.25,1.66,4.2,5.02"
OTHER = "E0,17/08/2024,15:00,Arsenal,Wolves,2,0,H,1.18,7.5,13,1.16,8.1,16"


def write(folder: Path, name: str, *lines: str, encoding: str = "utf-8") -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = "\n".join(lines).encode(encoding)
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)


def rows_of(ingest: Ingest) -> list[dict[str, Any]]:
    return ingest.matches.to_pylist()
