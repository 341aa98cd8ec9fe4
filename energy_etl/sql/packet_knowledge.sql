CREATE VIEW mart.packet_knowledge AS
WITH placed AS (
    -- Every version of every reading, with the interval that it lies in (its end: the stamp).
    SELECT r.register_id, i.end_at, r.read_at, r.version, r.reading_native, r.received_at
    FROM core.reading AS r
    ASOF JOIN core.interval AS i ON r.register_id = i.register_id AND r.read_at > i.start_at
    WHERE r.read_at <= i.end_at
),
feeding AS (
    SELECT p.stream_id, p.stamped_at, p.state, p.body, p.sent_at, s.register_id
    FROM push.packet AS p
    JOIN push.stream AS s ON s.stream_id = p.stream_id
    WHERE p.sent_at IS NOT NULL
),
told AS (
    SELECT
        f.stream_id,
        f.stamped_at,
        arg_max(
            struct_pack(
                read_at := v.read_at,
                reading_native := v.reading_native,
                version := v.version,
                received_at := v.received_at
            ),
            (v.read_at, v.version)
        ) FILTER (v.received_at <= f.sent_at) AS known,
        arg_max(
            struct_pack(read_at := v.read_at, reading_native := v.reading_native, version := v.version),
            (v.read_at, v.version)
        ) AS now_known
    FROM feeding AS f
    JOIN placed AS v ON v.register_id = f.register_id AND v.end_at = f.stamped_at
    GROUP BY f.stream_id, f.stamped_at
),
corrected AS (
    SELECT stream_id, stamped_at, arg_max(body_now, noticed_at) AS body_now,
        max(noticed_at) AS noticed_at
    FROM push.correction
    GROUP BY stream_id, stamped_at
)
SELECT
    f.stream_id,
    f.register_id,
    f.stamped_at,
    f.sent_at,
    f.state,
    f.body AS body_sent,
    t.known.read_at AS read_at,
    t.known.reading_native AS reading_native,
    t.known.version AS version,
    t.known.received_at AS received_at,
    t.now_known.reading_native AS reading_now_native,
    t.now_known.version AS version_now,
    t.known.reading_native IS DISTINCT FROM t.now_known.reading_native
        OR t.known.read_at IS DISTINCT FROM t.now_known.read_at AS is_known_better_now,
    c.body_now,
    c.noticed_at
FROM feeding AS f
LEFT JOIN told AS t ON t.stream_id = f.stream_id AND t.stamped_at = f.stamped_at
LEFT JOIN corrected AS c ON c.stream_id = f.stream_id AND c.stamped_at = f.stamped_at;

COMMENT ON VIEW mart.packet_knowledge IS
'One packet that was sent, with the reading behind it as it was known when it was sent, and as it is known now.';
COMMENT ON COLUMN mart.packet_knowledge.stream_id IS 'The stream.';
COMMENT ON COLUMN mart.packet_knowledge.register_id IS 'The register that feeds its first field; null: files do.';
COMMENT ON COLUMN mart.packet_knowledge.stamped_at IS 'The instant in its time stamp: the end of its interval.';
COMMENT ON COLUMN mart.packet_knowledge.sent_at IS 'When it was accepted.';
COMMENT ON COLUMN mart.packet_knowledge.state IS 'sent, confirmed or superseded.';
COMMENT ON COLUMN mart.packet_knowledge.body_sent IS 'What was sent.';
COMMENT ON COLUMN mart.packet_knowledge.read_at IS 'Instant of the newest reading in its interval that was known when it was sent; null: none was.';
COMMENT ON COLUMN mart.packet_knowledge.reading_native IS 'What that reading was known to be, in the register''s unit.';
COMMENT ON COLUMN mart.packet_knowledge.version IS 'Its version: 1, or how often it had been corrected by then, and 1.';
COMMENT ON COLUMN mart.packet_knowledge.received_at IS 'When that version came.';
COMMENT ON COLUMN mart.packet_knowledge.reading_now_native IS 'What the newest reading in the interval is known to be now.';
COMMENT ON COLUMN mart.packet_knowledge.version_now IS 'The version of that.';
COMMENT ON COLUMN mart.packet_knowledge.is_known_better_now IS 'True when a later or corrected reading came after it was sent.';
COMMENT ON COLUMN mart.packet_knowledge.body_now IS 'What would be sent today; null: the same, empty: nothing.';
COMMENT ON COLUMN mart.packet_knowledge.noticed_at IS 'When that was noticed.';
