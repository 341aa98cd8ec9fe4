"""Messages provoked through the door that people take: the command, and what is wrong beforehand.

Each `Case` is typed into a folder with a portfolio in which files feed three streams. What is
printed must fit the text that the syntax tree shows, and the exit code its class.
"""

from energy_etl_tests.messages.ground import (
    FAULTY,
    FED,
    GAS,
    MAINS,
    OTHER,
    STREAMS,
    WAITING,
    Case,
    both,
    closed,
    env,
    file,
    held,
    ini,
    last_to_come,
    no_such_day,
    two_packets,
    unpacked,
    unreadable,
)

_GENERAL = "[General]\nFilename = a.csv\nChannelReference = {stream}\nChannelType = {kind}\n"
_INI = "push csv {root}/a.ini --dry-run"
_CSV = f"push csv {{root}}/a.csv --stream {GAS} --dry-run"
_DROP = f"outbox drop --stream {GAS}"
_DAYS = "--from 2025-01-06T00:00Z --to 2025-01-07T00:00Z"
_CREDENTIAL = "WATTICS__CREDENTIALS__MAIN__USERNAME"
_URL = "WATTICS__COLLECTOR_URL"

SETTINGS = (
    Case("settings.py", "The setting {name} is not known", "outbox status", env("ROTO", "1")),
    Case(
        "settings.py",
        "The setting ENERGY_ETL_{place} is not known",
        "outbox status",
        file("energy_etl.toml", "roto = 1\n"),
    ),
    Case("settings.py", "The setting ENERGY_ETL_{place} does", "status", env("REFETCH_DAYS", "x")),
    Case("settings.py", "{energy_etl.toml} is no", "status", file("energy_etl.toml", "[")),
    Case("settings.py", "{energy_etl.toml} or", "status", file("energy_etl.toml", b'a = "\xff"')),
    Case("settings.py", "{filename} cannot be", "status", unreadable),
    Case("settings.py", "A setting cannot be read", "status", env("WATTICS__CREDENTIALS", "{")),
    Case(
        "settings.py", "it is no http(s) address", "status", env("ALERTS__WEBHOOK_URL", "x"), code=3
    ),
    Case(
        "vendors/wattics/settings.py",
        "it is no coll",
        "status",
        env(_URL, "https://a:b@c/"),
        code=3,
    ),
    Case(
        "vendors/wattics/settings.py",
        "{url} is no coll",
        "status",
        env(_URL, "https://c/?a"),
        code=3,
    ),
    Case(
        "vendors/wattics/settings.py",
        "{url} is not https",
        "status",
        env(_URL, "http://c/"),
        code=3,
    ),
    Case(
        "vendors/wattics/settings.py",
        "{url} does not end",
        "status",
        env(_URL, "https://c"),
        code=3,
    ),
    Case(
        "vendors/wattics/settings.py",
        "a user name of Basic",
        "status",
        both(env(_CREDENTIAL, "a:b"), env("WATTICS__CREDENTIALS__MAIN__PASSWORD", "x")),
        code=3,
    ),
    Case(
        "vendors/wattics/settings.py",
        "{unknown} cannot be set",
        "status",
        env("WATTICS__ON_REFUSAL", '{"500": "park"}'),
        code=3,
    ),
)
PROJECT = (
    Case("cli/standing.py", "There is no project", "status", needs="nothing"),
    Case("cli/outbox.py", "There is no outbox", "outbox status", needs="nothing"),
    Case("cli/setup.py", "{source} is missing", "init", unpacked, needs="nothing"),
    Case(
        "cli/transfer_files.py", "There is no warehouse", "export --out {root}/out", needs="nothing"
    ),
    Case("portfolio/reading.py", "There is no portfolio", "streams list", needs="nothing"),
    Case(
        "portfolio/reading.py",
        "The portfolio in",
        "push csv {root}/a.csv --dry-run",
        file("data/portfolio/sites.csv", "site\n"),
    ),
    Case(
        "state/file.py",
        "{path} cannot be used",
        "outbox status",
        file("data/state.sqlite", "x" * 4096),
    ),
    Case("portfolio/layout.py", "is no date", "push test nope", no_such_day, code=2),
    Case("cli/up.py", "{dagster_home} is in use", "rebuild", held),
    Case("cli/values.py", "{option} {text}", "sandbox --now yesterday"),
    Case("cli/values.py", "There is no {path}", "up --replay {root}/nowhere"),
    Case("cli/demo.py", "The demo works", "demo", env("TARGET", "live")),
    Case("cli/support.py", "--vendor {vendor}", "support-bundle --vendor nope --offline"),
    Case("cli/keeping.py", "--json asks no", "prune --json"),
    Case("cli/keeping.py", "Give a meter", "forget"),
    Case("cli/keeping.py", "Give a meter", "forget rome-a.mains --user x"),
    Case("defs/forgetting.py", "The portfolio knows no", "forget nope --yes", needs="project"),
    Case("defs/forgetting.py", "No table of a vendor", "forget --user nope --yes", needs="project"),
    Case(
        "defs/backfill.py",
        "--from {from_on} is later",
        "backfill --from 2025-02-02 --to 2025-02-01",
    ),
    Case("defs/backfill.py", "--from {from_on} lies", "backfill --from 2001-02-02 --to 2025-02-01"),
    Case("defs/backfill.py", "--to {to_on} has", "backfill --from 2025-02-02 --to 2999-02-01"),
    Case(
        "defs/backfill.py",
        "--vendor {name}",
        "backfill --from 2025-02-01 --to 2025-02-01 --vendor nope",
    ),
    Case(
        "defs/backfill.py",
        "{flag} {unknown}",
        "backfill --from 2025-02-01 --to 2025-02-01 --only-site nope",
    ),
    Case(
        "cli/backfill.py",
        "There is no Dagster",
        "backfill --from 2025-02-01 --to 2025-02-01 --vendor wattsense",
    ),
    Case(
        "defs/resources.py",
        "There is no portfolio",
        "backfill --from 2025-02-01 --to 2025-02-01",
        needs="nothing",
    ),
)
PUSH = (
    Case("cli/push.py", "Stream {stream} is fed", f"push test {FED}"),
    Case("cli/push.py", "--value {value}", f"push test {GAS} --value inf"),
    Case("cli/push.py", "{text} is none of", "push csv {root}/a.csv --format xml"),
    Case("cli/push.py", "{file} has {n} bad", _CSV, file("a.csv", "2025-03-01 00:00:00,x\n")),
    Case(
        "cli/push.py",
        "{file} has no measurement",
        f"{_CSV} --skip-bad-lines",
        file("a.csv", "2025-03-01 00:00:00,x\n"),
    ),
    Case("cli/push_files.py", "{stream_id} is not in streams.csv", "push test nope"),
    Case(
        "cli/push_files.py",
        "Stream {stream_id} {why}",
        f"push test {WAITING}",
        file("data/portfolio/streams.csv", FAULTY),
    ),
    Case("cli/push_files.py", "The credential {credential}", f"push test {OTHER}"),
    Case("vendors/wattics/files_lines.py", "There is no file", _CSV),
    Case(
        "vendors/wattics/files_lines.py", "{path} is a folder", f"push csv {{root}} --stream {GAS}"
    ),
    Case("vendors/wattics/files_lines.py", "{path} is empty", _CSV, file("a.csv", "")),
    Case("vendors/wattics/files_lines.py", "{path} is UTF-16", _CSV, file("a.csv", b"\xff\xfea")),
    Case("vendors/wattics/files_lines.py", "{path} is no text", _CSV, file("a.csv", b"a\0b\n")),
    Case("vendors/wattics/files_lines.py", "{path} line", _CSV, file("a.csv", b"1" * 3_000_000)),
    Case(
        "vendors/wattics/files_lines.py",
        "{path} cannot be read",
        f"push csv /proc/self/mem --stream {GAS}",
    ),
    Case("cli/push.py", "The last packet of", f"push test {GAS}", last_to_come, needs="project"),
    Case("vendors/wattics/files_ini.py", "There is no file", _INI),
    Case(
        "vendors/wattics/files_ini.py",
        "{path} is a folder",
        "push csv {root}/a.ini",
        lambda ground: (ground.root / "a.ini").mkdir(),
    ),
    Case("vendors/wattics/files_ini.py", "{path} is no Swarm", _INI, ini("a = b\n")),
    Case("vendors/wattics/files_ini.py", "{path} is no Swarm", _INI, ini("[Logs]\nLevel = 1\n")),
    Case("vendors/wattics/files_ini.py", "{path} is no Swarm", _INI, ini("[General]\na\n  b\n=\n")),
    Case("vendors/wattics/files.py", "A CSV does not say", "push csv {root}/a.csv"),
    Case(
        "vendors/wattics/files.py",
        "Stream {stream_id} takes",
        _INI,
        both(ini(_GENERAL.format(stream="nope", kind="other")), file("a.csv", "")),
    ),
    Case(
        "vendors/wattics/files.py",
        "Stream {stream_id} is fed",
        f"push csv {{root}}/a --stream {FED}",
    ),
    Case(
        "vendors/wattics/files.py",
        "No stream takes files",
        "push csv {root}/a.jsonl",
        file("data/portfolio/streams.csv", "\n".join(STREAMS.splitlines()[:2]) + "\n"),
    ),
    Case(
        "vendors/wattics/files.py",
        "The ini's ChannelType",
        _INI,
        both(ini(_GENERAL.format(stream=GAS, kind="real_electricity")), file("a.csv", "")),
    ),
    Case(
        "vendors/wattics/files.py",
        "The columns of the file",
        _INI,
        both(
            ini(_GENERAL.format(stream=MAINS, kind="real_electricity")),
            file("a.csv", "2025-03-01 00:00:00,1,2,3\n"),
        ),
    ),
    Case(
        "vendors/wattics/collector.py",
        "Wattics' last packet of stream {stream_id}: no connection",
        f"push test {GAS} --read-only",
        closed,
        needs="project",
    ),
)
_BROKEN = file("data/portfolio/sites.csv", "site\n")
OUTBOX = (
    Case(
        "cli/outbox.py",
        "There are more",
        "outbox list --state pending --limit 1",
        two_packets,
        code=0,
    ),
    Case("cli/status.py", "Lag and holes", "status", both(two_packets, _BROKEN), code=0),
    Case("cli/outbox.py", "Lag and holes", "outbox status", both(two_packets, _BROKEN), code=0),
    Case("cli/outbox.py", "Give one of --stream", "outbox retry", needs="project"),
    Case("cli/outbox.py", "--resend is for", "outbox retry --all --resend", needs="project"),
    Case("cli/outbox.py", "Stream {stream_id} has no", "outbox retry --stream x", needs="project"),
    Case("cli/outbox.py", "No stream in the", "outbox retry --credential x", needs="project"),
    Case("cli/outbox.py", "{state} is none of", "outbox list --state lost", needs="project"),
    Case("cli/outbox.py", "--reason is empty", f"{_DROP} {_DAYS} --reason=", needs="project"),
    Case(
        "cli/outbox.py",
        "--to {to} is not behind",
        f"{_DROP} --from 2025-01-07T00:00Z --to 2025-01-06T00:00Z --reason x",
        needs="project",
    ),
    Case(
        "cli/values.py",
        "{option} {text} is no",
        f"{_DROP} --from 1 --to 2025-01-06T00:00Z --reason x",
        needs="project",
    ),
)
_MAP = "streams map rome-a.fridge dp-9 --field pC_1"
STREAM_MAP = (
    Case(
        "cli/streams.py",
        "{n_names} names",
        "streams map rome-a.fridge --field pC_1 --content interval",
    ),
    Case(
        "cli/streams.py",
        "A stream that files feed is",
        f"{_MAP} --zone Europe/Rome --content cumulative_wh",
    ),
    Case(
        "cli/streams.py",
        "{register} is not in",
        "streams map nope dp-9 --field value --content interval",
    ),
    Case("cli/streams.py", "{register} cannot be", f"{_MAP} --content sample"),
    Case("cli/streams.py", "The credential", f"{_MAP} --content cumulative_wh --credential nope"),
    Case("cli/values.py", "{option} {text}", f"{_MAP} --content cumulative_wh --push-from x"),
    Case(
        "cli/streams.py",
        "{field} is a further",
        f"streams map rome-a.ev {FED} --field pC_2 --content cumulative_wh --interval 15",
    ),
)
GOLIVE = (
    Case("cli/golive.py", "--revoke takes", "golive --revoke --yes"),
    Case("cli/golive.py", "The target is", "golive"),
    Case("cli/golive.py", "There is no Dagster", "golive", env("TARGET", "live")),
    Case("cli/golive.py", "No vendor is", "golive", env("TARGET", "live"), needs="project"),
)
VENDORS = (
    Case("cli/device.py", "--set {text} is not", "device update node-1 --set x"),
    Case("cli/device.py", "--set {text} goes", "device update node-1 --set a=1 --set a.b=2"),
    Case("cli/device.py", "--set gives {name}", "device update node-1 --set a=1 --set a=2"),
    Case("cli/device.py", "--set holds lists", "device update node-1 --set a=" + "[" * 100_000),
    Case("defs/changes.py", "The activation", "license activate ABC --at tomorrow"),
    Case("cli/wiser.py", "No address was pasted", "wiser authorize --paste"),
    Case(
        "auth/authorization_request.py",
        "That is no answer",
        "wiser authorize --paste",
        answers="x\nx\nx\nx\nx\n",
    ),
    Case(
        "vendors/wiser/consent.py",
        "wiser.redirect_uri names",
        "wiser authorize --no-browser",
        env("WISER__REDIRECT_URI", "https://example.test/back"),
    ),
    Case(
        "rest/failures.py",
        "{who} cannot be asked",
        "streams list",
        closed,
    ),
)
FILES = (
    Case(
        "cli/__init__.py",
        "{place} cannot be used",
        "outbox export --out /no/at/all",
        needs="project",
        code=1,
    ),
    Case("cli/sql.py", "Give one of --csv", "sql x --csv --json"),
    Case("cli/sql.py", "Give a query or", "sql x --file {root}/a.sql", file("a.sql", "x")),
    Case("cli/sql.py", "{file} is not UTF-8", "sql --file {root}/a.sql", file("a.sql", b"\xff")),
    Case("warehouse/asking.py", "There is no {path}", "sql x"),
    Case(
        "warehouse/asking.py", "{path} cannot be", "sql x", file("data/energy.duckdb", "x" * 9000)
    ),
    Case(
        "warehouse/asking.py",
        "The query is empty",
        "sql --file {root}/a.sql",
        file("a.sql", ";"),
        needs="published",
    ),
    Case(
        "warehouse/asking.py",
        "There are {n_kinds}",
        "sql --file {root}/a.sql",
        file("a.sql", "SELECT 1; SELECT 2"),
        needs="published",
    ),
    Case(
        "warehouse/asking.py",
        "The query would make",
        "sql --file {root}/a.sql",
        file("a.sql", "FROM enable_logging()"),
        needs="published",
    ),
    Case(
        "warehouse/asking.py",
        "A statement of the",
        "sql --file {root}/a.sql",
        file("a.sql", "CREATE TABLE a(b INT)"),
        needs="published",
    ),
    Case(
        "warehouse/asking.py",
        "The query is wrong",
        "sql --file {root}/a.sql",
        file("a.sql", "SELECT FROM WHERE"),
        needs="published",
    ),
    Case(
        "warehouse/asking.py",
        "There is no column",
        "sql --file {root}/a.sql",
        file("a.sql", "SELECT nope FROM core.site"),
        needs="published",
    ),
    Case(
        "warehouse/asking.py",
        "There is no table",
        "sql --file {root}/a.sql",
        file("a.sql", "FROM core.nope"),
        needs="published",
    ),
    Case(
        "warehouse/asking.py",
        "{name} is not published",
        "sql --file {root}/a.sql",
        file("a.sql", "FROM raw.body"),
        needs="published",
    ),
    Case(
        "warehouse/asking.py",
        "A file that the query",
        "sql --file {root}/a.sql",
        lambda ground: ground.write(
            "a.sql", f"FROM '{ground.root.resolve()}/data/published/nowhere.parquet'"
        ),
        needs="published",
    ),
    Case(
        "warehouse/asking.py",
        "The query reads more",
        "sql --file {root}/a.sql",
        file("a.sql", "FROM read_text('/etc/passwd')"),
        needs="published",
    ),
    Case("report/page.py", "Nothing of a", "report --site nope"),
    Case("report/page.py", "There is no site", "report --site nope", needs="published"),
    Case(
        "cli/transfer_files.py",
        "{out} holds something",
        "export --out {root}/data",
        needs="project",
    ),
    Case(
        "cli/transfer_files.py",
        "There is no schema",
        "export --out {root}/out --schema nope",
        needs="project",
    ),
    Case("cli/transfer_files.py", "{folder} is no export", "import {root}/data", needs="project"),
    Case(
        "cli/transfer_files.py",
        "{folder} was exported",
        "import {root}/e",
        file(
            "e/manifest.json",
            '{"format": 9, "schema_version": 9, "files": {}, "last_sent_ms": {}, '
            '"energy_etl": "9"}',
        ),
        needs="project",
    ),
    Case(
        "warehouse/connection.py",
        "{path} is no DuckDB",
        "export --out {root}/out",
        file("data/warehouse.duckdb", "x" * 9000),
    ),
)
CASES = (*SETTINGS, *PROJECT, *PUSH, *OUTBOX, *STREAM_MAP, *GOLIVE, *VENDORS, *FILES)
