"""What a stranger with the right to ask SQL may try: nothing works, and neither artifacts nor databases change."""

import hashlib
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from app.settings import Settings
from tests.support.build_artifacts import write_artifacts
from tests.support.serving import NO_REDIS
from tests.support.threaded import served

pytestmark = pytest.mark.timeout(600)  # the first one waits for the service; each has a fresh process on a busy machine
TIMEOUT_S = 8.0


@dataclass(frozen=True)
class Victim:
    """A service that takes SQL, and where its files lie."""

    url: str
    artifacts: Path
    home: Path

    def ask(self, body: bytes) -> tuple[int, Any]:
        """Status and JSON of the answer."""
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/sql", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def sql(self, sql: str) -> tuple[int, Any]:
        """Ask a query in which {artifacts}, {database} and {home} stand for paths."""
        paths = {"artifacts": self.artifacts, "database": self.database, "home": self.home}
        for name, path in paths.items():
            sql = sql.replace(f"{{{name}}}", str(path))
        return self.ask(json.dumps({"sql": sql}).encode())

    @property
    def database(self) -> Path:
        """The file that queries read."""
        (found,) = (self.home / "cache/sql").glob("base-*/data.duckdb")
        return found

    def checksums(self) -> dict[str, str]:
        """Of every artifact and every file beside the databases."""
        files = [path for root in (self.artifacts, self.home / "cache/sql") for path in sorted(root.rglob("*"))]
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.is_file()}


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    """One service for all attacks, its databases made."""
    root = tmp_path_factory.mktemp("attacks")
    artifacts = write_artifacts(root / "artifacts")
    settings = Settings(
        artifacts_uri=str(artifacts),
        touchline_home=root / "home",
        redis_url=NO_REDIS,  # type: ignore[arg-type]  # pydantic makes it a secret
        sql_enabled=True,
        sql_timeout_s=TIMEOUT_S,
        sql_max_rows=1000,
        sql_max_mb=1,
        sql_memory_mb=128,
    )
    with served(settings) as url:
        victim = Victim(url, artifacts, root / "home")
        # may be busy with making the databases on the first try
        while victim.ask(b'{"sql": "SELECT count(*) FROM features JOIN cards USING (match_id)"}')[0] != 200:
            pass
        yield victim


WRITES = [
    "COPY cards TO '{artifacts}/predictions/predictions.parquet'",
    "COPY (SELECT 1) TO '{database}'",
    "COPY (SELECT 1) TO '{database}.wal'",
    "COPY (SELECT 1) TO '{database}.tmp/x.csv'",
    "WITH t AS (COPY (SELECT 1) TO '{database}.wal') SELECT 1",
    "WITH t AS (COPY cards TO '{artifacts}/x.csv') SELECT * FROM cards",
    "EXPLAIN ANALYZE COPY cards TO '{artifacts}/x.csv'",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{database}.wal'",
    "WITH t AS (INSERT INTO cards SELECT * FROM cards RETURNING *) SELECT * FROM t",
    "WITH t AS (DELETE FROM cards RETURNING *) SELECT * FROM t",
    "EXPLAIN ANALYZE DELETE FROM cards",
    "EXPLAIN ANALYZE CREATE TABLE snapshot.main.mine AS SELECT 1",
    "EXPORT DATABASE '{artifacts}'",
    "IMPORT DATABASE '{artifacts}'",
    "COPY FROM DATABASE snapshot TO memory",
    "CREATE TABLE mine AS SELECT 1",
    "CREATE TEMP TABLE mine AS SELECT 1",
    "CREATE VIEW mine AS SELECT 1",
    "CREATE MACRO mine(x) AS x + 1",
    "CREATE FUNCTION mine(x) AS TABLE SELECT x",
    "CREATE SECRET (TYPE s3, KEY_ID 'a', SECRET 'b')",
    "CREATE TYPE mine AS ENUM ('a')",
    "CREATE SEQUENCE mine",
    "INSERT INTO cards SELECT * FROM cards",
    "UPDATE odds SET odds_home = 100",
    "DELETE FROM odds",
    "TRUNCATE odds",
    "DROP TABLE cards",
    "ALTER TABLE cards ADD COLUMN mine INTEGER",
    "CHECKPOINT",
    "FORCE CHECKPOINT",
    "VACUUM",
    "ATTACH '{artifacts}/mine.duckdb' AS mine",
    "ATTACH ':memory:' AS mine",
    "ATTACH '{database}' AS mine",
    "DETACH snapshot",
    "USE memory",
    "BEGIN",
    "COMMENT ON TABLE cards IS 'mine'",
]
READS = [
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM '{artifacts}/predictions/predictions.parquet'",
    "SELECT * FROM read_parquet('{artifacts}/predictions/predictions.parquet')",
    "SELECT * FROM read_text('{artifacts}/manifest.json')",
    "SELECT * FROM read_blob('{home}/keys.json')",
    "SELECT * FROM read_json('{artifacts}/manifest.json')",
    "SELECT * FROM glob('{artifacts}/*')",
    "SELECT * FROM glob('/proc/self/environ')",
    "SELECT * FROM read_text('/proc/self/environ')",
    "SELECT * FROM read_text('/proc/' || (SELECT 1) || '/environ')",
    "SELECT * FROM sniff_csv('/etc/passwd')",
    "SELECT * FROM parquet_metadata('{artifacts}/predictions/predictions.parquet')",
    "SELECT * FROM read_duckdb('{database}')",
    "SELECT * FROM query('COPY cards TO ''{artifacts}/x.csv''')",
    "SELECT * FROM query_table('/etc/passwd')",
    "SELECT * FROM read_csv('https://example.org/x.csv')",
    "SELECT * FROM read_parquet('s3://bucket/x.parquet')",
    "SELECT * FROM read_csv('/dev/stdin')",
    "SELECT getenv('HOME')",
    "SELECT * FROM duckdb_extensions()",
    "SELECT * FROM pandas_scan(1)",
    "SELECT * FROM arrow_scan(1, 2, 3)",
    "SELECT * FROM python_arrow_scan(1)",
    "SELECT 94000000000000::POINTER",
    # variables of the process: DuckDB for Python would read a table from each
    "SELECT * FROM question",
    "SELECT * FROM statements",
    "SELECT * FROM reader",
    "SELECT * FROM os",
]
SETTINGS = [
    "INSTALL httpfs",
    "LOAD httpfs",
    "FORCE INSTALL httpfs FROM community",
    "SET enable_external_access = true",
    "SET disabled_filesystems = ''",
    "RESET disabled_filesystems",
    "SET lock_configuration = false",
    "PRAGMA enable_external_access = true",
    "SET GLOBAL memory_limit = '100GB'",
    "RESET memory_limit",
    "PRAGMA memory_limit = '100GB'",
    "SET threads = 64",
    "SET temp_directory = '{artifacts}'",
    "SET VARIABLE mine = 1",
    "PRAGMA profiling_output = '{artifacts}/x.json'",
    "CALL enable_logging(storage = 'file', storage_path = '{artifacts}')",
    "SELECT * FROM enable_logging()",
    "CALL force_checkpoint()",
    "PREPARE mine AS SELECT 1",
    "EXECUTE mine",
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP TABLE cards",
    ".open {artifacts}/x.duckdb",
    ".shell id",
    ".read /etc/passwd",
    ";",
    "-- nothing",
    "SELECT ?",
    "SELECT $mine",
]


WHERE_FILES_LIE = [
    "SELECT path FROM duckdb_databases()",
    "SELECT path FROM DuckDB_Databases",
    "SELECT path FROM system.main.duckdb_databases()",
    'SELECT path FROM "system"."main"."duckdb_databases"()',
    "TABLE duckdb_databases",
    "FROM pragma_database_list",
    "PRAGMA database_list",
    "SELECT current_setting('allowed_paths')",
    "SELECT value FROM duckdb_settings() WHERE name LIKE 'allowed%'",
    "SELECT setting FROM pg_catalog.pg_settings WHERE name LIKE 'allowed%'",
    "SHOW allowed_paths",
    "SHOW secret_directory",
    "SELECT * FROM query('SELECT path FROM duckdb_data' || 'bases()')",
    "SELECT * FROM query_table('duckdb_data' || 'bases')",
    "SELECT * FROM query/**/('SELECT 1')",
    """SELECT * FROM "query"('SELECT 1')""",
    "FROM json_execute_serialized_sql(json_serialize_sql('SELECT path FROM duckdb_data' || 'bases()'))",
    "EXPLAIN ANALYZE SELECT * FROM duckdb_databases() WHERE path LIKE '/a%'",
    "PIVOT duckdb_databases() ON path USING count(*)",
    "CREATE TABLE mine AS PIVOT cards ON region USING count(*)",
    "COPY (PIVOT cards ON region USING count(*)) TO '{artifacts}/x.csv'",
]


@pytest.mark.parametrize("sql", WRITES + READS + SETTINGS + WHERE_FILES_LIE)
def test_attack_is_refused_and_changes_nothing(victim: Victim, sql: str) -> None:
    """Nor does the answer say where files lie."""
    before = victim.checksums()
    status, answer = victim.sql(sql)
    assert (status, answer.get("code")) == (422, "sql-rejected"), answer
    assert victim.checksums() == before
    assert str(victim.home) not in answer["detail"]
    assert "site-packages" not in answer["detail"]


def test_harmless_looks_find_no_secret(victim: Victim) -> None:
    """What DuckDB tells of itself holds nothing of the service."""
    before = victim.checksums()
    for source in ("duckdb_secrets()", "duckdb_variables()", "duckdb_logs", "checkpoint()"):
        status, answer = victim.sql(f"SELECT * FROM {source}")
        assert (status, answer["rows"]) == (200, []), source
    assert victim.checksums() == before


@pytest.mark.parametrize(
    "sql",
    [
        "PIVOT cards ON status USING count(*) GROUP BY region",
        "FROM (PIVOT cards ON status USING count(*) GROUP BY region)",
        "WITH c AS (SELECT region, status FROM cards) PIVOT c ON status USING count(*)",
        "-- a comment\n(PIVOT cards ON status USING count(*) GROUP BY region)",
        "PIVOT cards ON status IN ('finished', 'upcoming') USING count(*) GROUP BY region",
    ],
)
def test_pivot_is_a_query_with_or_without_in(victim: Victim, sql: str) -> None:
    status, answer = victim.sql(sql)
    assert status == 200, answer
    assert {"finished", "upcoming"} < {column["name"] for column in answer["columns"]}
    assert len(answer["rows"]) == 3


def test_a_column_may_be_called_query(victim: Victim) -> None:
    assert victim.sql("SELECT query FROM (SELECT 1 AS query)")[1]["rows"] == [[1]]


TOO_MUCH = [
    ("SELECT * FROM range(1000000000)", "sql-too-large"),
    ("SELECT i FROM range(1001) t(i)", "sql-too-large"),
    ("SELECT repeat('x', 10000) FROM range(900)", "sql-too-large"),
    ("SELECT repeat('x', 2000000)", "sql-too-large"),
    ("SELECT list(range(1000000)) FROM range(100000)", "sql-too-large"),
    ("SELECT list_aggregate(range(1000000000), 'sum')", "sql-too-large"),
    ("SELECT length(repeat('x', 4000000000))", "sql-too-large"),
    ("SELECT string_agg(repeat('x', 1000000), '') FROM range(10000)", "sql-too-large"),
    ("SELECT * FROM range(100000000) a(i) ORDER BY hash(i) DESC LIMIT 1 OFFSET 50000000", "sql-too-large"),
    ("WITH RECURSIVE t(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM t) SELECT count(*) FROM t", "sql-timeout"),
    ("SELECT count(*) FROM range(1000000) a(i), range(1000000) b(j), range(1000) c(k) WHERE i*j*k=7", "sql-timeout"),
]


@pytest.mark.parametrize(("sql", "code"), TOO_MUCH)
def test_query_without_bounds_is_ended(victim: Victim, sql: str, code: str) -> None:
    """Which bound it meets first may depend on the machine where memory and time are both short."""
    _, answer = victim.sql(sql)
    assert answer["code"] in {code, "sql-timeout"}, answer
    assert victim.sql("SELECT 1")[0] == 200


DEEP = [
    "SELECT " + "(" * 9000 + "1" + ")" * 9000,
    "SELECT " + "[" * 9000 + "]" * 9000,
    "SELECT 1" + "+1" * 9000,
    "SELECT " + "NOT " * 4500 + "true",
    "SELECT " + "-" + "(-" * 6000 + "1" + ")" * 6000,
    "SELECT * FROM " + "(SELECT * FROM " * 1200 + "cards" + ")" * 1200,
    "SELECT " + "CASE WHEN true THEN " * 700 + "1" + " END" * 700,
]


@pytest.mark.parametrize("sql", DEEP, ids=range(len(DEEP)))
def test_nesting_without_end_ends_at_most_its_own_process(victim: Victim, sql: str) -> None:
    status, answer = victim.sql(sql)
    expected = {(200, None), (422, "sql-rejected"), (422, "sql-too-large"), (504, "sql-timeout")}
    assert (status, answer.get("code")) in expected
    assert victim.sql("SELECT 1")[0] == 200


BYTES = [
    (b'{"sql": "SELECT \xff\xfe"}', 422),
    (b'{"sql": "SELECT \\ud800"}', 422),
    (b'{"sql": 1}', 422),
    (b'{"sql": "SELECT 1", "format": "parquet"}', 422),
    (b'{"sql": "SELECT 1", "memory": 1}', 422),
    (b'{"sql": "' + b"x" * 20_001 + b'"}', 422),
    (b'{"sql": "' + b"x" * 70_000 + b'"}', 413),
    (b"\x00", 422),
    (b"", 422),
]


@pytest.mark.parametrize(("body", "status"), BYTES, ids=range(len(BYTES)))
def test_body_that_is_no_query_is_refused(victim: Victim, body: bytes, status: int) -> None:
    found, answer = victim.ask(body)
    assert found == status, answer
    assert answer["code"] != "internal-error"


def test_nul_in_sql_is_only_a_character(victim: Victim) -> None:
    status, answer = victim.sql("SELECT 'a\0b' AS x")
    assert (status, answer["rows"]) == (200, [["a\0b"]])
