-- How the match of a ledger row ended. A corrected result is a further revision; earlier ones stay as they were.
CREATE TABLE prediction_settlements (
    ledger_id uuid NOT NULL REFERENCES prediction_ledger,
    revision integer NOT NULL,
    settled_at timestamptz NOT NULL DEFAULT now(),
    outcome smallint, -- 0 home, 1 draw, 2 away; null: the result was withdrawn
    home_score smallint,
    away_score smallint,
    kickoff_utc timestamptz NOT NULL,
    decided_from timestamptz NOT NULL, -- predictions from here on do not count
    closing_home double precision,
    closing_draw double precision,
    closing_away double precision,
    snapshot_id text NOT NULL,
    snapshot_built_at timestamptz NOT NULL,
    PRIMARY KEY (ledger_id, revision)
);
CREATE INDEX prediction_settlements_kickoff ON prediction_settlements (kickoff_utc);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON prediction_settlements
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only();
