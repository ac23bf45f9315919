-- Everything about a match in one row, sorted by kick-off: prediction, odds, money, region ROI known at its kick-off.
-- `money` and `region_roi` are tables that the opener has registered; SQL here only joins and names.
-- The variable `seen_at` is the time as of which the cards stand.
-- What a text is looked for in stands once per fixture (two teams in a tournament of a region), not once per match.
-- Numbers of a tournament follow each other, so that one range a place says which fixtures are of a region.
CREATE TABLE fixtures AS
SELECT
    (row_number() OVER (ORDER BY region, tournament, home_team, away_team))::INTEGER AS fixture_no,
    region, tournament, home_team, away_team, n_matches, (count(*) OVER ())::INTEGER AS n_fixtures,
    strip_accents(lower(concat_ws(' ', home_team, away_team, tournament, region))) AS search_text
FROM (SELECT region, tournament, home_team, away_team, count(*) AS n_matches FROM predictions GROUP BY ALL);

CREATE TABLE places AS
SELECT
    region, tournament, min(fixture_no) AS first_no, max(fixture_no) AS last_no, sum(n_matches)::BIGINT AS n_matches,
    any_value(n_fixtures) AS n_fixtures
FROM fixtures GROUP BY region, tournament;

CREATE TABLE cards AS
WITH named AS (
    SELECT
        p.match_id, p.kickoff_utc, p.has_time AS kickoff_known,
        p.region, p.tournament, p.season, p.home_team, p.away_team, p.status,
        p.home_score, p.away_score,
        ['home', 'draw', 'away'][p.outcome + 1] AS outcome,
        p.proba_home, p.proba_draw, p.proba_away,
        ['home', 'draw', 'away'][p.predicted_class + 1] AS predicted,
        p.predicted_class = p.outcome AS hit,
        p.in_sample, p.model_name, p.model_version, p.model_stage, p.model_run_id, p.computed_at,
        m.too_little_history,
        CASE WHEN m.best_edge IS NULL THEN coalesce(p.no_odds_reason, CASE WHEN m.is_contradicted THEN 'contradicted_price' END)
        END AS no_odds_reason,
        m.market_home, m.market_draw, m.market_away, m.consensus_home, m.consensus_draw, m.consensus_away,
        o.odds_home, o.odds_draw, o.odds_away, o.bookmaker, o.event_url, o.captured_at,
        -- an age that goes on growing could not be kept: for a match to come its odds' age when these cards were made
        -- (`greatest` alone skips nulls: without odds it would be an age of zero)
        CASE WHEN o.captured_at IS NOT NULL
            THEN greatest(epoch(least(p.kickoff_utc, getvariable('seen_at')) - o.captured_at), 0) END AS odds_age_s,
        m.overround, m.implied_home, m.implied_draw, m.implied_away, m.fair_home, m.fair_draw, m.fair_away,
        m.edge_home, m.edge_draw, m.edge_away, m.best_edge,
        ['home', 'draw', 'away'][m.best_outcome + 1] AS best_outcome,
        m.model_edge_home, m.model_edge_draw, m.model_edge_away,
        m.best_price, m.is_value, m.kelly_stake, m.profit, m.kelly_profit, m.won, m.clv,
        m.favourite = p.outcome AS favourite_hit,
        m.best_odds_home, m.best_odds_draw, m.best_odds_away,
        m.best_bookmaker_home, m.best_bookmaker_draw, m.best_bookmaker_away,
        m.edge_at_best, ['home', 'draw', 'away'][m.outcome_at_best + 1] AS outcome_at_best, m.price_at_best,
        m.is_value_at_best, m.profit_at_best, m.model_exponent, m.market_exponent,
        f.fixture_no,
        -- an order needs a value where there are no odds: below every edge, which is never less than -1
        coalesce(m.best_edge, -2) AS edge_rank
    FROM predictions p
    JOIN fixtures f USING (region, tournament, home_team, away_team)
    LEFT JOIN odds o USING (match_id)
    LEFT JOIN money m USING (match_id)
)
SELECT
    named.*,
    r.roi_pct AS region_roi_pct, r.n_bets AS region_n_bets, r.ci_low AS region_roi_ci_low, r.ci_high AS region_roi_ci_high
FROM named
LEFT JOIN region_roi r USING (match_id)
ORDER BY named.kickoff_utc, named.match_id;

CREATE UNIQUE INDEX cards_by_match ON cards (match_id);
CREATE INDEX cards_by_fixture ON cards (fixture_no);

-- What a reader of the best edges sees first lies together: of a million matches a page is found and read in half the time.
CREATE TABLE best_cards AS FROM cards ORDER BY edge_rank DESC, match_id DESC LIMIT 10000;
