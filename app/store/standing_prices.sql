-- The prices of each bookmaker that count for each match at the time `seen_at`: as `standing_odds.sql` says it of one
-- bookmaker's odds. From `predictions` and `price_quotes`, the rows of the prices' history known by then.
WITH offers AS (
    SELECT q.*, kickoff_utc, computed_at,
        min(captured_at) OVER (PARTITION BY match_id, bookmaker) AS first_at
    FROM price_quotes q JOIN predictions USING (match_id) WHERE kind = 'offer'
),
standing AS (
    SELECT * FROM offers
    WHERE captured_at <= CASE WHEN kickoff_utc > getvariable('seen_at') THEN getvariable('seen_at')
        ELSE greatest(first_at, CASE WHEN computed_at <= kickoff_utc THEN computed_at
            ELSE date_trunc('day', kickoff_utc) END)
        END
    QUALIFY row_number() OVER (PARTITION BY match_id, bookmaker ORDER BY captured_at DESC, known_at DESC) = 1
),
closing AS (
    SELECT q.*, kickoff_utc FROM price_quotes q JOIN predictions USING (match_id) WHERE kind = 'closing'
    QUALIFY row_number() OVER (PARTITION BY match_id, bookmaker ORDER BY known_at DESC) = 1
)
SELECT match_id, bookmaker, odds_home, odds_draw, odds_away, captured_at, kind, url
FROM (FROM (SELECT * EXCLUDE (computed_at, first_at) FROM standing) UNION ALL BY NAME FROM closing)
ORDER BY kickoff_utc, match_id, kind, bookmaker
