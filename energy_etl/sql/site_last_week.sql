CREATE VIEW mart.site_last_week AS
SELECT
    s.site_id,
    s.name AS site_name,
    r.register_id,
    t.start_on,
    t.end_on,
    t.energy_kwh,
    t.trend_pct,
    t.vendor,
    t.vendor_energy_kwh,
    t.vendor_trend_pct,
    t.coverage_pct
FROM core.site AS s
LEFT JOIN core.register AS r
    ON r.site_id = s.site_id
    AND r.role = 'mains'
    AND r.commodity = 'electricity'
    AND r.is_primary
LEFT JOIN (
    SELECT *
    FROM mart.period_trend
    WHERE period = 'last-week'
    QUALIFY computed_on = max(computed_on) OVER (PARTITION BY register_id)
) AS t ON t.register_id = r.register_id
ORDER BY s.site_id, r.register_id;

COMMENT ON VIEW mart.site_last_week IS
'One electricity mains of a site: its energy of last week (Monday to Sunday), ours and the vendor''s.';
COMMENT ON COLUMN mart.site_last_week.site_id IS 'The site.';
COMMENT ON COLUMN mart.site_last_week.site_name IS 'What people call it.';
COMMENT ON COLUMN mart.site_last_week.register_id IS 'Its electricity mains; null: it has none.';
COMMENT ON COLUMN mart.site_last_week.start_on IS 'Monday of last week.';
COMMENT ON COLUMN mart.site_last_week.end_on IS 'Monday of this week (exclusive).';
COMMENT ON COLUMN mart.site_last_week.energy_kwh IS 'Energy of last week; null: nothing was measured.';
COMMENT ON COLUMN mart.site_last_week.trend_pct IS 'Change against the week before; null below 95 % coverage.';
COMMENT ON COLUMN mart.site_last_week.vendor IS 'Whose figures stand beside ours; null: none.';
COMMENT ON COLUMN mart.site_last_week.vendor_energy_kwh IS 'The vendor''s consumption of last week.';
COMMENT ON COLUMN mart.site_last_week.vendor_trend_pct IS 'The vendor''s trend.';
COMMENT ON COLUMN mart.site_last_week.coverage_pct IS 'Measured share of the week''s intervals.';
