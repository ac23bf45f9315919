-- One row per match, model version that answered, and shadow version (or none): the last prediction before kick-off.
WITH results AS (
    SELECT DISTINCT ON (ledger_id) * FROM prediction_settlements ORDER BY ledger_id, revision DESC
), counted AS (
    SELECT DISTINCT ON (l.model_name, l.model_version, l.match_id)
        l.match_id, l.task_id, l.model_name, l.model_version, l.model_alias, l.answered_at,
        l.proba_home, l.proba_draw, l.proba_away, l.odds_home, l.odds_draw, l.odds_away,
        r.outcome, r.kickoff_utc, r.decided_from, r.closing_home, r.closing_draw, r.closing_away,
        r.n_history_home, r.n_history_away
    FROM results r JOIN prediction_ledger l ON l.id = r.ledger_id
    WHERE r.outcome IS NOT NULL AND r.kickoff_utc >= $1 AND l.answered_at < r.decided_from
    ORDER BY l.model_name, l.model_version, l.match_id, l.answered_at DESC, l.seq DESC
)
SELECT counted.*, s.model_name AS shadow_name, s.model_version AS shadow_version,
    s.proba_home AS shadow_home, s.proba_draw AS shadow_draw, s.proba_away AS shadow_away
FROM counted LEFT JOIN shadow_ledger s
    ON s.task_id = counted.task_id AND s.computed_at < counted.decided_from
ORDER BY counted.kickoff_utc, counted.match_id
