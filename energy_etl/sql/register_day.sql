CREATE VIEW mart.register_day AS
SELECT
    d.site_id,
    s.name AS site_name,
    r.meter_id,
    m.name AS meter_name,
    d.register_id,
    r.commodity,
    r.role,
    r.appliance,
    r.is_primary,
    s.zone,
    d.local_on,
    d.energy_kwh,
    d.volume_m3,
    d.coverage_pct,
    s.area_m2
FROM mart.daily_energy AS d
JOIN core.register AS r ON r.register_id = d.register_id
LEFT JOIN core.meter AS m ON m.meter_id = r.meter_id
LEFT JOIN core.site AS s ON s.site_id = d.site_id;

COMMENT ON VIEW mart.register_day IS
'One local day of one register with every name beside it: what a BI tool needs of the daily energy in one table.';
COMMENT ON COLUMN mart.register_day.site_id IS 'The site.';
COMMENT ON COLUMN mart.register_day.site_name IS 'What people call it.';
COMMENT ON COLUMN mart.register_day.meter_id IS 'The meter.';
COMMENT ON COLUMN mart.register_day.meter_name IS 'What people call it.';
COMMENT ON COLUMN mart.register_day.register_id IS 'The register.';
COMMENT ON COLUMN mart.register_day.commodity IS 'electricity, gas, water or heat.';
COMMENT ON COLUMN mart.register_day.role IS 'mains, submeter, appliance, export or production. Only mains (is_primary) add up to a site.';
COMMENT ON COLUMN mart.register_day.appliance IS 'What it feeds; null for mains.';
COMMENT ON COLUMN mart.register_day.is_primary IS 'False for a second view of the same thing.';
COMMENT ON COLUMN mart.register_day.zone IS 'Time zone of the site.';
COMMENT ON COLUMN mart.register_day.local_on IS 'The day in that zone.';
COMMENT ON COLUMN mart.register_day.energy_kwh IS 'Its energy; null: nothing was measured.';
COMMENT ON COLUMN mart.register_day.volume_m3 IS 'Its volume, of gas and water; null: nothing was measured.';
COMMENT ON COLUMN mart.register_day.coverage_pct IS 'Measured share of the day''s intervals.';
COMMENT ON COLUMN mart.register_day.area_m2 IS 'Floor area of the site; null: not known.';
