-- What was known of each match's region when the match began, and of all regions together at that moment.
-- The file holds running totals by region, so what a row adds is its difference from the region's row before.
WITH totals AS (
    SELECT settled_until, region,
        staked - lag(staked, 1, 0) OVER by_region AS staked_more,
        profit - lag(profit, 1, 0) OVER by_region AS profit_more
    FROM roi_by_region
    WINDOW by_region AS (PARTITION BY region ORDER BY settled_until)
),
overall AS (
    SELECT settled_until, sum(sum(staked_more ORDER BY region)) OVER by_time AS staked,
        sum(sum(profit_more ORDER BY region)) OVER by_time AS profit  -- in one order, so that every process rounds alike
    FROM totals GROUP BY settled_until
    WINDOW by_time AS (ORDER BY settled_until)
)
SELECT p.match_id, r.n_bets, r.roi_pct, r.roi_ci_low, r.roi_ci_high,
    CASE WHEN overall.staked > 0 THEN 100 * overall.profit / overall.staked END AS overall_pct
FROM predictions p
-- the newest figures that were complete when the match began: nothing later may colour the choice of matches
ASOF JOIN roi_by_region r ON p.region = r.region AND p.kickoff_utc >= r.settled_until
ASOF JOIN overall ON p.kickoff_utc >= overall.settled_until
