"""One query of a stranger: read, run and answered in a process that then ends."""

import os
import re
import socket
from typing import NoReturn

from app.sql.protocol import SqlFailure, SqlRequest, encode_answer, encode_failure
from app.sql.render import ARROW, CSV, JSON, QueryRows, TooMuch, render_rows
from app.sql.sandbox import limit_resources
from app.store.database import Connection, DatabaseError, OutOfMemory, open_connection, open_sealed_connection

_CHUNK_ROWS = 2048
_LONGEST_MESSAGE = 2000
# absolute paths of two or more parts: where our files lie is nobody's business
_PATH = re.compile(r"(?<![\w.])/(?:[\w.@+-]+/)+[\w.@+-]*")
_SAMPLE = "SELECT now() AS t, 1.5 AS n, INTERVAL 1 DAY AS i, uuid() AS u, {'a': [current_date]} AS s, 'x'::BLOB AS b"
_ALLOWED = frozenset({"SELECT", "EXPLAIN"})
_COMMENTS = r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*"
_PIVOT = re.compile(rf"(?is){_COMMENTS}\(*{_COMMENTS}(?:pivot|from|select|with|explain|describe|summarize)\b")
# What tells where files lie, and what runs a text as SQL, in which such a name could be put together. A name stands in
# SQL as it is, whatever quotes it, so the text needs no parser; the settings are those that `SHOW` would tell.
_SECRET = re.compile(
    r"(?i)\b(?:duckdb_databases|duckdb_settings|pragma_database_list|pg_settings|current_setting"
    r"|json_execute_serialized_sql|allowed_\w+|\w+_director(?:y|ies)|\w+_search_path|log_query_path"
    rf'|query(?:_table)?(?="?{_COMMENTS}\())'
)


def warm_up() -> None:
    """Import all that writing a value needs: a time with a zone alone takes two seconds for the first time."""
    connection = open_connection(threads=1)
    for media in (JSON, CSV, ARROW):
        render_rows(QueryRows(connection.sql(_SAMPLE), media, _CHUNK_ROWS), media, max_bytes=2**20)
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
        return answer_on(connection, question)
    except (OutOfMemory, MemoryError) as error:
        detail = f"The query needs more memory than {bounds.memory_mb} MB."
        raise SqlFailure("sql-too-large", detail) from error
    except TooMuch as error:
        raise SqlFailure("sql-too-large", str(error)) from error
    except (DatabaseError, ValueError, TypeError, ArithmeticError) as error:
        raise SqlFailure("sql-rejected", describe_error(error)) from error


def answer_on(connection: Connection, question: SqlRequest) -> tuple[bytes, int]:
    """Answer on an open connection; ValueError, DatabaseError, TooMuch and others for what cannot be answered."""
    statements = connection.extract_statements(question.sql)
    if len(statements) != 1:
        raise ValueError(f"One query is asked for; this is {len(statements)}.")
    kind = statements[0].type.name
    # DuckDB makes several statements of one PIVOT without IN: its values become a type of their own first
    if kind not in _ALLOWED and not (kind == "MULTI" and _PIVOT.match(question.sql)):
        raise ValueError(f"Only queries may be asked, as SELECT, FROM, PIVOT or EXPLAIN; this is {kind}.")
    if (secret := _SECRET.search(question.sql)) is not None:
        raise ValueError(f"Where files lie is not told: {secret[0].strip()} is not for queries.")
    rows = QueryRows(connection.sql(statements[0]), question.media, _CHUNK_ROWS, question.bounds.max_rows)
    return render_rows(rows, question.media, question.bounds.max_bytes), rows.n_rows


def describe_error(error: BaseException) -> str:
    """What DuckDB says, without paths and without the traces of its own failures."""
    message, _, _ = str(error).partition("\n\nStack Trace")
    return _PATH.sub("…", message)[:_LONGEST_MESSAGE]
