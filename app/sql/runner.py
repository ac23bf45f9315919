"""One query of a stranger: read, run and answered in a process that then ends."""

import os
import re
import socket
from typing import NoReturn

from app.sql.protocol import SqlFailure, SqlRequest, encode_answer, encode_failure
from app.sql.render import ARROW, CSV, JSON, Counted, TooMuch, rendered
from app.sql.sandbox import limit_resources
from app.store.database import Connection, DatabaseError, OutOfMemory, open_connection, open_sealed_connection

_CHUNK_ROWS = 2048
_LONGEST_MESSAGE = 2000
# absolute paths of two or more parts: where our files lie is nobody's business
_PATH = re.compile(r"(?<![\w.])/(?:[\w.@+-]+/)+[\w.@+-]*")
_SAMPLE = "SELECT now() AS t, 1.5 AS n, INTERVAL 1 DAY AS i, uuid() AS u, {'a': [current_date]} AS s, 'x'::BLOB AS b"
_ALLOWED = frozenset({"SELECT", "EXPLAIN"})


def warm_up() -> None:
    """Import all that writing a value needs: a time with a zone alone takes two seconds for the first time."""
    connection = open_connection(threads=1)
    for media in (JSON, CSV, ARROW):
        rendered(Counted(connection.sql(_SAMPLE).to_arrow_reader(_CHUNK_ROWS)), media, max_bytes=2**20)
    # its threads would not be there in a fork
    connection.close()


def run_query(asked: int) -> NoReturn:
    """Take one question from the socket of that number, answer it there, and end the process."""
    with socket.socket(fileno=asked) as asker, asker.makefile("rwb") as file:
        question = SqlRequest.decode(file.readline())
        try:
            said = encode_answer(*answer(question))
        except SqlFailure as failure:
            said = encode_failure(failure)
        file.write(said)
    # what DuckDB would tidy up is not worth the wait
    os._exit(0)


def answer(question: SqlRequest, *, is_confined: bool = True) -> tuple[bytes, int]:
    """The answer's body and the number of its rows; Failure."""
    bounds = question.bounds
    connection = open_sealed_connection(question.databases, memory=f"{bounds.memory_mb}MB")
    if is_confined:
        limit_resources(memory_bytes=2 * bounds.memory_mb * 2**20, cpu_s=int(bounds.timeout_s) + 2)
    try:
        return _run(connection, question)
    except (OutOfMemory, MemoryError) as error:
        detail = f"The query needs more memory than {bounds.memory_mb} MB."
        raise SqlFailure("sql-too-large", detail) from error
    except TooMuch as error:
        raise SqlFailure("sql-too-large", str(error)) from error
    except (DatabaseError, ValueError, TypeError, ArithmeticError) as error:
        raise SqlFailure("sql-rejected", describe_error(error)) from error


def _run(connection: Connection, question: SqlRequest) -> tuple[bytes, int]:
    statements = connection.extract_statements(question.sql)
    if len(statements) != 1:
        raise ValueError(f"One query is asked for; this is {len(statements)}.")
    if statements[0].type.name not in _ALLOWED:
        raise ValueError(f"Only queries may be asked, as SELECT, FROM or EXPLAIN; this is {statements[0].type.name}.")
    reader = connection.sql(statements[0]).to_arrow_reader(_CHUNK_ROWS)
    rows = Counted(reader, question.bounds.max_rows)
    return rendered(rows, question.media, question.bounds.max_bytes), rows.n_rows


def describe_error(error: BaseException) -> str:
    """What DuckDB says, without paths and without the traces of its own failures."""
    message, _, _ = str(error).partition("\n\nStack Trace")
    return _PATH.sub("…", message)[:_LONGEST_MESSAGE]
