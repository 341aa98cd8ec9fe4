CREATE VIEW mart.stream_delivery AS
SELECT
    m.stream_id,
    r.site_id,
    m.register_id,
    m.content,
    m.push_from_at,
    coalesce(d.n_sent, 0) AS n_sent,
    coalesce(d.n_confirmed, 0) AS n_confirmed,
    coalesce(d.n_pending, 0) AS n_pending,
    coalesce(d.n_held, 0) AS n_held,
    coalesce(d.n_rejected, 0) AS n_rejected,
    coalesce(d.n_superseded, 0) AS n_superseded,
    d.last_sent_at,
    d.last_confirmed_at,
    d.hold_reason,
    d.parked_reason
FROM push.stream AS m
LEFT JOIN core.register AS r ON r.register_id = m.register_id
LEFT JOIN push.stream_status AS d ON d.stream_id = m.stream_id
ORDER BY m.stream_id;

COMMENT ON VIEW mart.stream_delivery IS 'One stream at Wattics: what was sent, confirmed, waits or was refused.';
COMMENT ON COLUMN mart.stream_delivery.stream_id IS 'The stream.';
COMMENT ON COLUMN mart.stream_delivery.site_id IS 'The site of the register that feeds it.';
COMMENT ON COLUMN mart.stream_delivery.register_id IS 'The register that feeds it.';
COMMENT ON COLUMN mart.stream_delivery.content IS 'cumulative_wh, interval or sample.';
COMMENT ON COLUMN mart.stream_delivery.push_from_at IS 'No packet is stamped before this.';
COMMENT ON COLUMN mart.stream_delivery.n_sent IS 'Packets accepted, not yet confirmed.';
COMMENT ON COLUMN mart.stream_delivery.n_confirmed IS 'Packets confirmed by a read-back.';
COMMENT ON COLUMN mart.stream_delivery.n_pending IS 'Packets released and waiting to be sent.';
COMMENT ON COLUMN mart.stream_delivery.n_held IS 'Packets waiting behind a hole or for confirmation.';
COMMENT ON COLUMN mart.stream_delivery.n_rejected IS 'Packets that Wattics refused.';
COMMENT ON COLUMN mart.stream_delivery.n_superseded IS 'Packets whose value changed after they were sent.';
COMMENT ON COLUMN mart.stream_delivery.last_sent_at IS 'Stamp of the newest accepted packet.';
COMMENT ON COLUMN mart.stream_delivery.last_confirmed_at IS 'Stamp of the newest confirmed packet.';
COMMENT ON COLUMN mart.stream_delivery.hold_reason IS 'Why the oldest held packet waits.';
COMMENT ON COLUMN mart.stream_delivery.parked_reason IS 'Why the stream is parked; null when it is not.';
