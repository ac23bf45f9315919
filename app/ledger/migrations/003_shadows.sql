-- What the shadow model would have answered, chained as the answers are; task_id leads to those.
CREATE TABLE shadow_ledger (
    id uuid PRIMARY KEY,
    task_id text NOT NULL,
    computed_at timestamptz NOT NULL,
    match_id bigint NOT NULL,
    proba_home double precision NOT NULL,
    proba_draw double precision NOT NULL,
    proba_away double precision NOT NULL,
    model_name text NOT NULL,
    model_version text NOT NULL,
    model_alias text NOT NULL,
    model_run_id text NOT NULL,
    answered_alias text NOT NULL,
    answered_version text NOT NULL,
    snapshot_id text NOT NULL,
    request_id text NOT NULL,
    seq bigint NOT NULL CONSTRAINT shadow_ledger_place UNIQUE,
    prev_hash bytea NOT NULL,
    row_hash bytea NOT NULL
);
CREATE INDEX shadow_ledger_task ON shadow_ledger (task_id);
CREATE INDEX shadow_ledger_match ON shadow_ledger (match_id);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON shadow_ledger
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only();
CREATE INDEX prediction_ledger_task ON prediction_ledger (task_id);
