-- The trace that a question belongs to. Rows from before have none, and keep the hashes they have: see app/ledger/chain.py.
ALTER TABLE prediction_ledger ADD COLUMN trace_id text;

CREATE OR REPLACE FUNCTION prediction_ledger_hash(prev_hash bytea, seq bigint, r prediction_ledger) RETURNS bytea LANGUAGE sql STABLE
    RETURN sha256(
        prev_hash || int8send(seq) || ledger_value(uuid_send(r.id)) || ledger_value(timestamptz_send(r.answered_at))
        || ledger_value(int8send(r.match_id))
        || ledger_value(float8send(r.proba_home)) || ledger_value(float8send(r.proba_draw))
        || ledger_value(float8send(r.proba_away))
        || ledger_text(r.model_name) || ledger_text(r.model_version) || ledger_text(r.model_alias)
        || ledger_text(r.model_run_id) || ledger_text(r.snapshot_id)
        || ledger_value(float8send(r.odds_home)) || ledger_value(float8send(r.odds_draw))
        || ledger_value(float8send(r.odds_away)) || ledger_value(timestamptz_send(r.odds_captured_at))
        || ledger_text(r.request_id) || ledger_text(r.task_id) || ledger_value(float8send(r.latency_ms))
        || CASE WHEN r.trace_id IS NULL THEN ''::bytea ELSE ledger_text(r.trace_id) END
    );
