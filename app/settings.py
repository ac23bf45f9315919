"""The only reader of the environment: every setting, its default and its meaning.


A component is given the group it needs (`settings.http`, `settings.keys`), not all of them.
"""

import ipaddress
import os
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

REQUESTS_PER_MINUTE = 6000  # beyond loopback, unless set otherwise: a hundred a second is no person


@lru_cache(4096)
def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True, slots=True)
class KeySettings:
    """Where the API keys come from."""

    given: SecretStr | None  # the same JSON as the file's
    file: Path


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Who reaches the API, and how much of it one caller may use."""

    host: str
    port: int
    is_port_shared: bool  # by several processes of this API
    allow_public: bool
    allowed_hosts: frozenset[str]
    cors_origins: frozenset[str]
    max_connections: int
    max_connections_per_address: int
    requests_per_minute: int  # of a caller; 0: any

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches the API."""
        return is_loopback(self.host)


@dataclass(frozen=True, slots=True)
class SqlSettings:
    """What a query at POST /sql may take."""

    timeout_s: float
    max_rows: int
    max_bytes: int
    memory_mb: int
    concurrency: int
    cache: Path


@dataclass(frozen=True, slots=True)
class TracingSettings:
    """Where spans go, and how many."""

    endpoint: str | None
    headers: str = field(repr=False)  # they may hold a token
    sampled_share: float


class Settings(BaseSettings):
    """What an operator can set; names are the environment variables, in upper case."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True, env_file=None, extra="ignore")

    touchline_home: Path = Field(Path("var"), description="folder of all state on one machine")
    app_host: str = Field("127.0.0.1", description="address the API listens on")
    app_port: int = Field(8000, ge=0, le=65535, description="port of the API")
    app_processes: int = Field(
        1, ge=1, le=64, description="API processes on that port; each has its own snapshot, connections and listeners"
    )
    app_allow_public: bool = Field(
        default=False,
        description="listen beyond this machine without API keys: anyone who can reach the port may use it",
    )
    api_keys: SecretStr | None = Field(
        None, description="API keys beside those of the file: the same JSON list of hashes"
    )
    api_keys_file: Path | None = Field(None, description="file of API keys; empty: keys.json in TOUCHLINE_HOME")
    rate_limit_per_minute: int | None = Field(
        None,
        ge=0,
        description="requests a minute of a key, or of an address without keys; 0: any; empty: 6000, on loopback any",
    )
    cors_origins: tuple[str, ...] = Field(
        (), description="origins whose pages may ask the API from a browser (JSON list)"
    )
    allowed_hosts: tuple[str, ...] = Field(
        (), description="Host names beside localhost that the API answers to while APP_HOST is loopback (JSON list)"
    )
    max_connections: int = Field(1000, ge=1, description="open connections past which the API refuses new ones")
    max_connections_per_address: int | None = Field(
        None, ge=1, description="open connections of one address; empty: half of MAX_CONNECTIONS"
    )
    dashboard_host: str = Field("127.0.0.1", description="address the match page listens on")
    dashboard_port: int = Field(5006, ge=0, le=65535, description="port of the match page")
    dashboard_origins: tuple[str, ...] = Field(
        (), description="further host:port names browsers use for the match page, behind a proxy (JSON list)"
    )
    dashboard_password: SecretStr | None = Field(None, description="password that the match page asks readers for")
    dashboard_allow_public: bool = Field(
        default=False,
        description="show the match page beyond this machine without a password: anyone who can reach it may read it",
    )
    api_url: str = Field("http://127.0.0.1:8000", description="where the match page finds the API")
    api_public_url: str = Field("", description="address of the API that the match page shows to its readers")
    api_key: SecretStr | None = Field(
        None,
        description="API key of the match page and scripts/mcp, with the scopes read, predict, monitor (sql for SQL)",
    )
    mcp_host: str = Field("127.0.0.1", description="address that scripts/mcp --http listens on")
    mcp_port: int = Field(8765, ge=0, le=65535, description="port of scripts/mcp --http")
    mcp_key: SecretStr | None = Field(
        None, description="bearer token that scripts/mcp --http asks for; 16 characters or more"
    )
    worker_processes: int | None = Field(
        None, ge=1, le=64, description="worker processes of the pool; empty: 2, on a single core 1"
    )
    worker_metrics_host: str = Field("127.0.0.1", description="address of the pool's /metrics")
    worker_metrics_port: int = Field(8001, ge=0, le=65535, description="port of the pool's /metrics; 0: none")

    artifacts_uri: str = Field("var/artifacts", description="folder or s3://bucket/prefix of the artifacts")
    artifact_poll_s: float = Field(60.0, gt=0, description="seconds between looks for new artifacts")
    artifact_cache_gb: float = Field(10.0, gt=0, description="disk that artifacts fetched from a bucket may take, GB")
    artifact_silence_s: float = Field(10.0, gt=0, description="silence after which a bucket counts as failed, seconds")
    query_timeout_s: float = Field(10.0, gt=0, description="deadline of one DuckDB query, seconds")
    query_concurrency: int = Field(4, ge=1, le=64, description="DuckDB queries that run at once")
    query_queue_limit: int = Field(256, ge=1, description="waiting DuckDB queries past which new ones are refused")
    query_threads: int = Field(2, ge=1, description="threads of DuckDB")
    query_memory: str = Field("2GB", description="memory bound of DuckDB")
    sql_enabled: bool = Field(default=False, description="take SQL at POST /sql")
    sql_timeout_s: float = Field(10.0, gt=0, le=600, description="deadline of one query at POST /sql, seconds")
    sql_max_rows: int = Field(100_000, ge=1, description="largest number of rows that POST /sql answers")
    sql_max_mb: int = Field(16, ge=1, le=1024, description="largest answer of POST /sql, MB")
    sql_memory_mb: int = Field(512, ge=64, description="memory of one query at POST /sql, MB")
    sql_concurrency: int = Field(2, ge=1, le=32, description="queries at POST /sql at once; each has its own process")
    event_clients: int = Field(256, ge=1, description="clients that may listen to GET /events at once")
    event_heartbeat_s: float = Field(15.0, gt=0, description="seconds between signs of life on GET /events")

    redis_url: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/0"), description="Redis of the queue: redis://, rediss:// or unix:///path"
    )
    redis_username: str | None = Field(None, description="its ACL user, unless the URL names one")
    redis_password: SecretStr | None = Field(None, description="its password, unless it stands in the URL")
    redis_ca_file: Path | None = Field(None, description="who vouches for a rediss:// server; empty: the system's list")
    redis_client_cert_file: Path | None = Field(None, description="our certificate for a rediss:// server that asks")
    redis_client_key_file: Path | None = Field(None, description="the key of that certificate")
    redis_sentinels: tuple[Annotated[str, Field(pattern=r"^\S+:\d{1,5}$")], ...] = Field(
        (), description="host:port of Sentinels (JSON list); they name the server, the URL only its database and TLS"
    )
    redis_sentinel_name: str = Field("touchline", description="what the Sentinels call the Redis of the queue")
    redis_sentinel_password: SecretStr | None = Field(None, description="password of the Sentinels themselves")
    queue_name: str = Field("touchline:queue", description="Redis key of the queue")
    queue_limit: int = Field(10_000, ge=1, description="waiting jobs past which new ones are refused")
    sync_timeout_s: float = Field(30.0, gt=0, le=300, description="longest wait for a live prediction, seconds")
    result_ttl_s: int = Field(3600, ge=1, description="how long a result stays in Redis, seconds")

    database_url: SecretStr | None = Field(None, description="PostgreSQL of the prediction ledger")

    mlflow_tracking_uri: str = Field("sqlite:///var/mlflow/mlflow.db", description="MLflow registry")
    model_name: str = Field("soccer-match-outcome", description="registered model's name")
    model_aliases: tuple[str, ...] = Field(("champion", "candidate"), description="aliases to load (JSON list)")
    shadow_alias: str | None = Field(
        None, description="alias that computes every live prediction too, after its answer, to be scored later"
    )
    model_poll_s: float = Field(10.0, gt=0, description="seconds between looks for a moved alias")

    bookmaker: str | None = Field(
        None,
        description="bookmaker one bets with, as `prices.parquet` names it, when artifacts are built and lines are "
        "imported; empty: Fonbet where its line was imported, else Bet365",
    )
    source_url: str = Field(
        "https://www.football-data.co.uk",
        pattern="^https?://",
        description="base address of the result files and fixtures lists",
    )
    source_leagues: str = Field("", description="leagues that a refresh fetches, such as E0,SP1, or all; empty: none")
    source_since: int = Field(2015, ge=1993, description="first season that a refresh fetches, by its first year")
    source_folder: Path | None = Field(
        None, description="folder of result files that a refresh reads and watches; empty: what it fetched"
    )
    refresh_hours: tuple[Annotated[int, Field(ge=0, le=23)], ...] = Field(
        (6, 18), description="hours of the day, UTC, at which the pipeline refreshes; [] for never (JSON list)"
    )
    retrain_days: int = Field(7, ge=0, description="days after which a refresh trains a candidate; 0: never")
    promotion: Literal["manual", "auto"] = Field(
        "manual", description="auto: a candidate that was trained becomes the champion at once"
    )

    value_edge: float = Field(0.05, ge=0, description="edge from which an outcome is a value bet")
    edge_from: Literal["consensus", "model"] = Field(
        "consensus",
        description="whose probabilities edges, stakes and value bets come from: `consensus` of model and bookmakers, "
        "or `model` alone",
    )
    kelly_fraction: float = Field(0.25, gt=0, le=1, description="fraction of the Kelly stake")
    kelly_cap: float = Field(0.05, gt=0, le=1, description="largest stake as a share of the bankroll")
    min_bets: int = Field(20, ge=2, description="settled bets below which ROI says too_few")
    min_history: int = Field(
        5, ge=0, description="matches of each team in the 400 days before below which there is no value bet"
    )

    drift_hours: tuple[Annotated[int, Field(ge=0, le=23)], ...] = Field(
        (5,), description="hours of the day, UTC, at which a worker checks for drift; [] for never (JSON list)"
    )

    otel_exporter_otlp_endpoint: str | None = Field(
        None,
        description="OpenTelemetry collector for traces, such as http://127.0.0.1:4318; needs the extra traces",
    )
    otel_exporter_otlp_headers: SecretStr | None = Field(
        None, description="headers for the collector: name=value,name=value"
    )
    otel_traces_sampler_arg: float = Field(
        1.0, ge=0, le=1, description="share of the traces that begin here which is exported"
    )

    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR")
    log_format: str = Field("auto", pattern="^(auto|json|console)$", description="auto: JSON unless on a terminal")

    @property
    def n_worker_processes(self) -> int:
        """How many worker processes the pool has: two where there are cores, so that one answers while one restarts."""
        if self.worker_processes is not None:
            return self.worker_processes
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return min(2, cores)

    @property
    def keys(self) -> KeySettings:
        """The API keys."""
        return KeySettings(self.api_keys, self.api_keys_file or self.touchline_home / "keys.json")

    @property
    def http(self) -> HttpSettings:
        """The API's door."""
        per_minute, per_address = self.rate_limit_per_minute, self.max_connections_per_address
        default_per_minute = 0 if is_loopback(self.app_host) else REQUESTS_PER_MINUTE
        return HttpSettings(
            host=self.app_host,
            port=self.app_port,
            is_port_shared=self.app_processes > 1,
            allow_public=self.app_allow_public,
            allowed_hosts=frozenset(name.lower() for name in self.allowed_hosts),
            cors_origins=frozenset(self.cors_origins),
            max_connections=self.max_connections,
            max_connections_per_address=max(1, self.max_connections // 2) if per_address is None else per_address,
            requests_per_minute=default_per_minute if per_minute is None else per_minute,
        )

    @property
    def sql(self) -> SqlSettings:
        """Queries of callers."""
        return SqlSettings(
            timeout_s=self.sql_timeout_s,
            max_rows=self.sql_max_rows,
            max_bytes=self.sql_max_mb * 2**20,
            memory_mb=self.sql_memory_mb,
            concurrency=self.sql_concurrency,
            cache=self.touchline_home / "cache" / "sql",
        )

    @property
    def tracing(self) -> TracingSettings:
        """Spans."""
        headers = self.otel_exporter_otlp_headers
        return TracingSettings(
            endpoint=self.otel_exporter_otlp_endpoint,
            headers=headers.get_secret_value() if headers else "",
            sampled_share=self.otel_traces_sampler_arg,
        )

    @model_validator(mode="after")
    def _shadow_is_loaded(self) -> Self:
        if self.shadow_alias is not None and self.shadow_alias not in self.model_aliases:
            raise ValueError(f"SHADOW_ALIAS {self.shadow_alias!r} is none of MODEL_ALIASES, so no worker loads it")
        return self
