CREATE VIEW mart.register_freshness AS
SELECT
    r.site_id,
    r.meter_id,
    r.register_id,
    r.commodity,
    r.role,
    n.vendor,
    n.last_read_at,
    n.last_received_at,
    date_diff('minute', n.last_read_at, now()) AS age_minutes,
    n.n_corrections
FROM core.register AS r
LEFT JOIN (
    SELECT
        register_id,
        arg_max(vendor, read_at) AS vendor,
        max(read_at) AS last_read_at,
        max(received_at) AS last_received_at,
        count(*) FILTER (version > 1) AS n_corrections
    FROM core.reading
    GROUP BY register_id
) AS n ON n.register_id = r.register_id
ORDER BY n.last_read_at NULLS FIRST, r.register_id;

COMMENT ON VIEW mart.register_freshness IS
'One register: its newest reading, from whom, and how old that is now; the oldest first.';
COMMENT ON COLUMN mart.register_freshness.site_id IS 'The site.';
COMMENT ON COLUMN mart.register_freshness.meter_id IS 'The meter.';
COMMENT ON COLUMN mart.register_freshness.register_id IS 'The register.';
COMMENT ON COLUMN mart.register_freshness.commodity IS 'electricity, gas, water, heat or temperature.';
COMMENT ON COLUMN mart.register_freshness.role IS 'mains, submeter, appliance, export, production or sensor.';
COMMENT ON COLUMN mart.register_freshness.vendor IS 'Who delivered the newest reading; null: it has none.';
COMMENT ON COLUMN mart.register_freshness.last_read_at IS 'Instant of the newest reading.';
COMMENT ON COLUMN mart.register_freshness.last_received_at IS 'When anything of it came last.';
COMMENT ON COLUMN mart.register_freshness.age_minutes IS 'Age of the newest reading when you ask.';
COMMENT ON COLUMN mart.register_freshness.n_corrections IS 'Values that the vendor changed afterwards.';
