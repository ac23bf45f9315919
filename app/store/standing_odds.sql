-- The odds that count for each match at the time `seen_at`: of a match to come the newest; of one that has begun those
-- that stood when its prediction was made or, where there were none yet, the first after that. Never what came later:
-- nobody could have taken it. From `predictions` and `quotes`, the rows of the odds' history known by then.
WITH offers AS (SELECT * FROM quotes WHERE kind = 'offer'),
begun AS (
    SELECT match_id, kickoff_utc,
        CASE WHEN kickoff_utc > getvariable('seen_at') THEN getvariable('seen_at')
            ELSE greatest(first_at, CASE WHEN computed_at <= kickoff_utc THEN computed_at
                ELSE date_trunc('day', kickoff_utc) END)
        END AS taken_at
    FROM predictions JOIN (SELECT match_id, min(captured_at) AS first_at FROM offers GROUP BY match_id) USING (match_id)
),
standing AS (
    SELECT offers.*, kickoff_utc FROM offers JOIN begun USING (match_id) WHERE captured_at <= taken_at
    QUALIFY row_number() OVER (PARTITION BY match_id ORDER BY captured_at DESC, known_at DESC, bookmaker) = 1
),
closing AS (
    SELECT * FROM quotes WHERE kind = 'closing'
    -- the market's average is the sharper of two closing prices
    QUALIFY row_number() OVER (
        PARTITION BY match_id ORDER BY bookmaker = 'market average' DESC, known_at DESC, bookmaker
    ) = 1
)
SELECT match_id, s.odds_home, s.odds_draw, s.odds_away, s.bookmaker, s.event_url, s.captured_at,
    c.odds_home AS closing_home, c.odds_draw AS closing_draw, c.odds_away AS closing_away,
    c.bookmaker AS closing_source
FROM standing s LEFT JOIN closing c USING (match_id)
ORDER BY kickoff_utc, match_id
