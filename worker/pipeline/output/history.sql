-- What a build adds to the history: what it says anew, or otherwise than the newest rows did. Its own view of the
-- artifacts (implied_*) is compared with the rows that are there (old_*). A row that could have been known since the
-- last build counts from then on; what could have been known earlier, but was not here, counts from now.
CREATE TABLE new_predictions AS
WITH newest AS (
    SELECT * FROM old_predictions QUALIFY row_number() OVER (PARTITION BY match_id ORDER BY known_at DESC) = 1
)
SELECT n.* REPLACE (CASE WHEN o.match_id IS NULL THEN n.known_at ELSE getvariable('now') END AS known_at)
FROM implied_predictions n LEFT JOIN newest o USING (match_id)
WHERE o.match_id IS NULL
    -- what is said of a match that has begun is no prediction of it
    OR n.kickoff_utc > getvariable('now') AND (
        n.kickoff_utc, n.has_time, n.region, n.tournament, n.season, n.home_team, n.away_team,
        n.proba_home, n.proba_draw, n.proba_away, n.model_version
    ) IS DISTINCT FROM (
        o.kickoff_utc, o.has_time, o.region, o.tournament, o.season, o.home_team, o.away_team,
        o.proba_home, o.proba_draw, o.proba_away, o.model_version
    );

CREATE TABLE new_odds AS
FROM implied_odds n
ANTI JOIN old_odds o ON n.match_id = o.match_id AND n.kind = o.kind AND n.bookmaker = o.bookmaker
    AND n.captured_at = o.captured_at
    AND n.odds_home = o.odds_home AND n.odds_draw = o.odds_draw AND n.odds_away = o.odds_away;

CREATE TABLE new_prices AS
FROM implied_prices n
ANTI JOIN old_prices o ON n.match_id = o.match_id AND n.kind = o.kind AND n.bookmaker = o.bookmaker
    AND n.captured_at = o.captured_at
    AND n.odds_home = o.odds_home AND n.odds_draw = o.odds_draw AND n.odds_away = o.odds_away;

CREATE TABLE new_results AS
WITH newest AS (
    SELECT * FROM old_results QUALIFY row_number() OVER (PARTITION BY match_id ORDER BY known_at DESC) = 1
)
SELECT n.match_id, n.status, n.home_score, n.away_score, n.outcome,
    CASE WHEN o.match_id IS NULL THEN n.kickoff_utc + INTERVAL 2 HOUR ELSE getvariable('now') END AS known_at
FROM predictions n LEFT JOIN newest o USING (match_id)
WHERE (o.match_id IS NOT NULL OR n.status NOT IN ('upcoming', 'live', 'awaiting_result'))
    AND (n.status, n.home_score, n.away_score) IS DISTINCT FROM (o.status, o.home_score, o.away_score);
