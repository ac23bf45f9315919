-- Each row takes in the hash of the one before it; app/ledger/chain.py says how a row is encoded.
ALTER TABLE prediction_ledger ADD COLUMN seq bigint, ADD COLUMN prev_hash bytea, ADD COLUMN row_hash bytea;

CREATE FUNCTION ledger_value(value bytea) RETURNS bytea LANGUAGE sql IMMUTABLE
    RETURN coalesce('\x01'::bytea || value, '\x00'::bytea);

CREATE FUNCTION ledger_text(value text) RETURNS bytea LANGUAGE sql IMMUTABLE
    RETURN ledger_value(int4send(octet_length(convert_to(value, 'UTF8'))) || convert_to(value, 'UTF8'));

-- what row_hash must be; for those who want to check the chain without our code
CREATE FUNCTION prediction_ledger_hash(prev_hash bytea, seq bigint, r prediction_ledger) RETURNS bytea LANGUAGE sql STABLE
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
    );

-- the rows of migration 001 were written without a chain: they get one in the order of their answers
DO $$
DECLARE
    r prediction_ledger;
    head bytea := decode(repeat('00', 32), 'hex');
    place bigint := 0;
    hash bytea;
BEGIN
    FOR r IN SELECT * FROM prediction_ledger ORDER BY answered_at, id LOOP
        place := place + 1;
        hash := prediction_ledger_hash(head, place, r);
        UPDATE prediction_ledger SET seq = place, prev_hash = head, row_hash = hash WHERE id = r.id;
        head := hash;
    END LOOP;
END $$;

ALTER TABLE prediction_ledger
    ALTER COLUMN seq SET NOT NULL, ALTER COLUMN prev_hash SET NOT NULL, ALTER COLUMN row_hash SET NOT NULL,
    ADD CONSTRAINT prediction_ledger_place UNIQUE (seq);

-- against mistakes; the owner of the table can switch it off, which `scripts/ledger verify` then finds
CREATE FUNCTION ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only: % of % refused', TG_OP, TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON prediction_ledger
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only();
