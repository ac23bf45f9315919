-- What a folder of artifacts says of its own history: one prediction, one price taken and one closing price a match,
-- the prices of all bookmakers and its result, each from the moment at which it could have been known. From `predictions`, `odds` and
-- `prices`.
CREATE VIEW implied_predictions AS
SELECT match_id, kickoff_utc, has_time, region, tournament, season, home_team, away_team,
    proba_home, proba_draw, proba_away, predicted_class, model_name, model_version, model_stage, model_run_id,
    computed_at, in_sample, n_history_home, n_history_away,
    -- A match computed after its kick-off, by a model that had not seen it: its features know nothing of that day, so
    -- the prediction could have been made when the day began. One in sample could not have been made at all.
    CASE WHEN computed_at <= kickoff_utc OR in_sample THEN computed_at ELSE date_trunc('day', kickoff_utc) END AS known_at
FROM predictions;

CREATE VIEW implied_odds AS
SELECT match_id, 'offer' AS kind, odds_home, odds_draw, odds_away, bookmaker, event_url, captured_at,
    captured_at AS known_at
FROM odds
UNION ALL
SELECT match_id, 'closing', closing_home, closing_draw, closing_away, coalesce(closing_source, bookmaker), NULL,
    kickoff_utc, kickoff_utc
FROM odds JOIN predictions USING (match_id)
WHERE closing_home > 1 AND closing_draw > 1 AND closing_away > 1;

-- a closing price is that of the kick-off
CREATE VIEW implied_prices AS SELECT *, captured_at AS known_at FROM prices;

-- a match is over two hours after it begins
CREATE VIEW implied_results AS
SELECT match_id, status, home_score, away_score, outcome, kickoff_utc + INTERVAL 2 HOUR AS known_at
FROM predictions WHERE status NOT IN ('upcoming', 'live', 'awaiting_result');
