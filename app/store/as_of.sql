-- What was known of every match at the time `seen_at`: the relations that `cards` is built from, out of the history.
CREATE TABLE predictions AS
WITH prediction AS (
    SELECT * FROM history_predictions WHERE known_at <= getvariable('seen_at')
    QUALIFY row_number() OVER (PARTITION BY match_id ORDER BY known_at DESC, computed_at DESC) = 1
),
result AS (
    SELECT * FROM history_results WHERE known_at <= getvariable('seen_at')
    QUALIFY row_number() OVER (PARTITION BY match_id ORDER BY known_at DESC) = 1
)
SELECT p.* EXCLUDE (known_at),
    CASE
        WHEN r.status IS NOT NULL THEN r.status
        WHEN getvariable('seen_at') >= p.kickoff_utc AND getvariable('seen_at') < p.kickoff_utc + INTERVAL 2 HOUR THEN 'live'
        ELSE 'upcoming'
    END AS status,
    r.home_score, r.away_score, r.outcome, NULL::VARCHAR AS no_odds_reason
FROM prediction p LEFT JOIN result r USING (match_id)
ORDER BY p.kickoff_utc, match_id;

CREATE TEMP VIEW price_quotes AS SELECT * FROM history_prices WHERE known_at <= getvariable('seen_at');
CREATE TEMP VIEW quotes AS SELECT * FROM history_odds WHERE known_at <= getvariable('seen_at');
