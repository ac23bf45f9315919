-- What two versions of a model were found to be beside each other, and who let an alias name another version, and why.
CREATE TABLE model_comparisons (
    id uuid PRIMARY KEY,
    compared_at timestamptz NOT NULL,
    actor text NOT NULL,
    model_name text NOT NULL,
    champion text NOT NULL, -- versions
    candidate text NOT NULL,
    has_passed boolean NOT NULL,
    document jsonb NOT NULL
);
CREATE INDEX model_comparisons_pair ON model_comparisons (model_name, champion, candidate, compared_at);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON model_comparisons
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only();

-- written before the alias is moved, so that no move goes without its reason
CREATE TABLE model_promotions (
    id uuid PRIMARY KEY,
    asked_at timestamptz NOT NULL,
    actor text NOT NULL,
    action text NOT NULL CHECK (action IN ('promote', 'rollback')),
    model_name text NOT NULL,
    alias text NOT NULL,
    from_version text, -- null: the alias named nothing
    to_version text NOT NULL,
    because text,
    comparison_id uuid REFERENCES model_comparisons
);
CREATE INDEX model_promotions_alias ON model_promotions (model_name, alias, asked_at);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON model_promotions
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only();

-- what came of it; none where whoever asked died before he knew
CREATE TABLE model_promotion_results (
    promotion_id uuid PRIMARY KEY REFERENCES model_promotions,
    ended_at timestamptz NOT NULL,
    has_moved boolean NOT NULL,
    detail text NOT NULL
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON model_promotion_results
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only();
