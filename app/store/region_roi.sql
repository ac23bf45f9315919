-- ROI of each region at each time something settled, and the ROI of all regions together at that time.
-- The file holds running totals by region, so what a row adds is its difference from the region's row before.
WITH totals AS (
    SELECT region, settled_until, n_bets, roi_pct, roi_ci_low, roi_ci_high,
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
SELECT region, settled_until, n_bets, roi_pct, roi_ci_low, roi_ci_high,
    CASE WHEN overall.staked > 0 THEN 100 * overall.profit / overall.staked END AS overall_pct
FROM totals JOIN overall USING (settled_until)
ORDER BY settled_until, region
