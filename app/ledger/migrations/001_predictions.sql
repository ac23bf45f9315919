-- Every live prediction as it was answered.
CREATE TABLE prediction_ledger (
    id uuid PRIMARY KEY,
    answered_at timestamptz NOT NULL,
    match_id bigint NOT NULL,
    proba_home double precision NOT NULL,
    proba_draw double precision NOT NULL,
    proba_away double precision NOT NULL,
    model_name text NOT NULL,
    model_version text NOT NULL,
    model_alias text NOT NULL,
    model_run_id text NOT NULL,
    snapshot_id text NOT NULL,
    odds_home double precision,
    odds_draw double precision,
    odds_away double precision,
    odds_captured_at timestamptz,
    request_id text NOT NULL,
    task_id text NOT NULL,
    latency_ms double precision NOT NULL
);
CREATE INDEX prediction_ledger_match ON prediction_ledger (match_id, answered_at);
