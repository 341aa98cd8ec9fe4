"""Wattics' API page: what is pushed, its format, how it is checked, and the vendor's clients."""

from energy_etl_tests.documents import Document, Row, left_out, rows_of
from energy_etl_tests.documents.wattics_api import EACH_ENDPOINT, READ_API

_WATTICS = "energy_etl.vendors.wattics."
_SENDER = "energy_etl.delivery.sender:"
_TESTS = "energy_etl_tests/vendors/wattics/"
_DELIVERY = "energy_etl_tests/delivery/"
_IN_ORDER = f"{_DELIVERY}test_sender.py::test_everything_pending_arrives_in_order_and_is_confirmed"
_UNSAFE_URL = f"{_TESTS}test_settings.py::test_a_url_that_is_not_safe_is_refused_with_the_reason"
_ONE_LINE = f"{_TESTS}test_packets.py::test_a_packet_is_one_compact_line_with_the_register_in_wh"
_ANY_FIELD = f"{_TESTS}test_packets.py::test_each_field_of_a_packet_can_be_sent_alone"
_STAMP = f"{_TESTS}test_wire.py::test_stamp_is_local_with_its_offset_and_milliseconds"
_AUTUMN = (
    f"{_TESTS}test_wire.py::"
    "test_both_half_past_ones_of_an_autumn_night_are_distinct_and_ordered_by_instant"
)
_NONE_YET = f"{_TESTS}test_wire.py::test_signs_of_nothing_received_are_none"
_LAST = f"{_TESTS}test_collector.py::test_what_was_posted_is_the_last_packet"
_MOST = f"{_DELIVERY}test_sender.py::test_no_more_streams_are_under_way_than_the_limit"
_HELD = f"{_DELIVERY}test_frontier.py::test_contiguous_packets_are_released_up_to_the_first_hole"


_MARKETING = "Tells what the platform does with the data, not how it is sent."
_BY_HAND = "Agreed with the vendor by people, or looked at by them in the vendor's dashboard."
_THEIR_CLIENT = "About the vendor's own client; this package is another one."

_START = (
    *left_out(
        _MARKETING,
        "The Wattics energy management platform is designed to integrate measurements",
        "produce insights such as demand forecast, anomaly and wastage detection",
    ),
    Row(
        "happens via our secure HTTPs Restful API",
        f"{_WATTICS}settings:checked_url",
        _UNSAFE_URL,
    ),
    Row(
        "must be registered with Wattics before measurements are pushed",
        "energy_etl.delivery.stream_sender:StreamSender._is_final",
        f"{_DELIVERY}test_sender.py::test_an_unknown_stream_is_parked_and_goes_on_after_a_retry",
    ),
    *left_out(_BY_HAND, "you must request your API startup package using the form below"),
    Row(
        "HTTPs credentials (username and password)",
        f"{_WATTICS}settings:WatticsCredential",
        f"{_TESTS}test_settings.py::test_passwords_are_shown_nowhere",
    ),
    Row(
        "Unique Data Stream IDs to use for three test data points",
        "energy_etl.tables.push:STREAM",
        "energy_etl_tests/portfolio/test_reading.py::"
        "test_files_become_frames_in_the_schemas_of_their_tables",
    ),
    *left_out(_BY_HAND, "Dashboard demo account"),
    Row(
        "can be agreed per meter, per end-user, per site or per partner",
        f"{_WATTICS}collector:open_collectors",
        f"{_TESTS}test_collector.py::test_each_credential_has_its_own_session",
    ),
    Row(
        "[Refer to API documentation: https://developers.wattics.com/]",
        f"{_WATTICS}api_client:PATHS",
        EACH_ENDPOINT,
    ),
    Row(
        "one point of entry, which is used for prototyping and testing",
        f"{_WATTICS}settings:WatticsSettings.collector_url",
        f"{_TESTS}test_settings.py::test_production_is_the_default",
    ),
    *rows_of(
        (
            "All Wattics API communication is encrypted over HTTPs.",
            "Non-secure requests are automatically rejected",
        ),
        f"{_WATTICS}settings:checked_url",
        _UNSAFE_URL,
    ),
    *left_out(
        "A later release sends one packet to a stream and reads it back.",
        "we recommend establishing a test connection",
    ),
)

_CLIENT = (
    Row(
        "must keep the HTTPs session open using the standard web cookies",
        f"{_WATTICS}collector:WatticsCollector.__aenter__",
        f"{_TESTS}test_collector.py::test_one_session_keeps_its_connection_and_cookie",
    ),
    Row(
        "Your data push implementation must use basic authentication.",
        f"{_WATTICS}collector:WatticsCollector",
        _LAST,
    ),
    Row(
        "Your data push implementation must send one packet per HTTP transaction.",
        f"{_WATTICS}collector:WatticsCollector.post",
        _IN_ORDER,
    ),
    Row(
        "data holes will be assumed if no packets are being received when due",
        "energy_etl.delivery.frontier:release",
        _HELD,
    ),
    *left_out(_BY_HAND, "You must let us know if you change your data push frequency"),
    *rows_of(
        (
            "this frequency will define the granularity of the readings shown in the dashboard",
            "if you push every 5 minutes you will have a 5-minute minimum granularity",
        ),
        f"{_WATTICS}packets:compute_packets",
        f"{_TESTS}test_packets.py::test_a_coarser_stream_takes_the_register_at_its_own_stamps",
    ),
    *left_out(
        _BY_HAND,
        "let us know what your data push frequency is at the start or whenever you decide",
        "detect broken communication when no data is coming in and issue real-time notifications",
    ),
    *left_out(
        "Streams are pushed at regular intervals; what comes late fills its own interval.",
        "you must choose the highest time period acceptable",
        "All packets received during that time interval will be aggregated by our API",
    ),
)

# The document's own lines, unit included.
_ELECTRICAL = (
    '"aP_1":xxx, => Active Power phase 1 in (W)',
    '"aP_2":xxx, => Active Power phase 2 in (W)',
    '"aP_3":xxx, => Active Power phase 3 in (W)',
    '"rP_1":xxx, => Reactive Power phase 1 in (VA reactive)',
    '"rP_2":xxx, => Reactive Power phase 2 in (VA reactive)',
    '"rP_3":xxx, => Reactive Power phase 3 in (VA reactive)',
    '"apP_1":xxx, => Apparent Power phase 1 in (VA)',
    '"apP_2":xxx, => Apparent Power phase 2 in (VA)',
    '"apP_3":xxx, => Apparent Power phase 3 in (VA)',
    '"v_1":xxx, => Voltage phase 1 in (Volts)',
    '"v_2":xxx, => Voltage phase 2 in (Volts)',
    '"v_3":xxx, => Voltage phase 3 in (Volts)',
    '"c_1":xxx, => Current phase 1 in (Ampere)',
    '"c_2":xxx, => Current phase 2 in (Ampere)',
    '"c_3":xxx, => Current phase 3 in (Ampere)',
    '"v_12":xxx, => Phase-To-Phase Voltage between phase 1 and 2 in (Volts)',
    '"v_13":xxx, => Phase-To-Phase Voltage between phase 1 and 3 in (Volts)',
    '"v_23":xxx => Phase-To-Phase Voltage between phase 2 and 3 in (Volts)',
)
_ENERGY = (
    '"pC_1":xxx, => Energy consumed since beginning in phase 1 in (Wh)',
    '"pC_2":xxx, => Energy consumed since beginning in phase 2 in (Wh)',
    '"pC_3":xxx, => Energy consumed since beginning in phase 3 in (Wh)',
)

_FORMAT = (
    *left_out("The page names no field for it.", "Line Voltage, THD) and electrical energy"),
    Row(
        "must be encapsulated in the following JSON format with associated units:",
        f"{_WATTICS}wire:FIELDS",
        _ANY_FIELD,
    ),
    Row(
        '"id":"xxx", => Unique Meter ID',
        f"{_WATTICS}wire:packet_head",
        f"{_TESTS}test_wire.py::test_any_id_is_one_line_of_json",
    ),
    Row(
        '"tsISO8601":"xxx", => Local Timestamp in ISO8601 format',
        f"{_WATTICS}wire:stamp_expression",
        _STAMP,
    ),
    *rows_of(_ELECTRICAL, f"{_WATTICS}wire:ELECTRICAL_FIELDS", _ANY_FIELD),
    *rows_of(
        _ENERGY,
        f"{_WATTICS}packets:compute_packets",
        f"{_TESTS}test_packets.py::test_each_phase_can_carry_the_cumulative_energy",
    ),
    Row(
        "consumption values should be the cumulative Wh values (Wh consumed since the beginning)",
        f"{_WATTICS}packets:compute_packets",
        _ONE_LINE,
    ),
    Row(
        "calculate the Wh consumed during the time interval by subtracting successive Wh readings",
        f"{_WATTICS}offsets:compute_offsets",
        f"{_TESTS}test_packets.py::"
        "test_in_any_history_a_stream_grows_by_the_energy_and_used_packets_never_change",
    ),
    Row(
        "must be timestamped by the data source with the local sampling time",
        f"{_WATTICS}wire:stamp_expression",
        _AUTUMN,
    ),
    Row("Data packets must be sent in chronological order.", f"{_SENDER}drain", _IN_ORDER),
    Row(
        "The timestamp format should comply to the ISO8601 standard",
        f"{_WATTICS}wire:stamp_expression",
        f"{_TESTS}test_wire.py::test_stamps_say_the_same_instant_as_the_standard_library",
    ),
    Row(
        "Only a selection of data types may be sent, not all parameters are expected",
        f"{_WATTICS}packets:compute_packets",
        _ANY_FIELD,
    ),
    Row(
        "you must use the first parameter to transmit that value, e.g. total kWh",
        "energy_etl.tables.push:STREAM",
        "energy_etl_tests/sandbox/test_portfolio_rows.py::"
        "test_each_pushed_register_is_in_the_example_portfolio",
    ),
    Row(
        "should not be sent with line breaks, but as a one line packet",
        f"{_WATTICS}packets:_bodies",
        _ONE_LINE,
    ),
    Row(
        "Single-value data points (gas, water, heat, temperature, production, any numeric value)",
        f"{_WATTICS}wire:SINGLE_FIELD",
        f"{_TESTS}test_packets.py::test_totals_of_a_volume_are_in_the_registers_unit_and_whole",
    ),
    Row(
        '"value":xxx, => Value',
        f"{_WATTICS}wire:SINGLE_FIELD",
        f"{_TESTS}test_packets.py::test_means_leave_out_what_may_still_change",
    ),
)

_TESTING = (
    *left_out(
        _BY_HAND,
        "You must log in to your Wattics Dashboard",
        "you will find the three data points in your menu tree under the Breakdown tab",
    ),
    Row(
        "If Jan 1970 is shown then it means that no data has been received yet",
        f"{_WATTICS}wire:parse_last",
        _NONE_YET,
    ),
    Row(
        "Invalid Date means that no data has been received yet.",
        f"{_WATTICS}wire:parse_last",
        _NONE_YET,
    ),
    *left_out(_THEIR_CLIENT, "you can use third party REST plugins for Firefox and Chrome"),
    Row(
        "an error code indicating an incorrect password",
        "energy_etl.delivery.account:Account._refuse",
        f"{_DELIVERY}test_sender.py::"
        "test_a_wrong_password_stops_its_streams_at_once_and_sends_all_when_mended",
    ),
    Row(
        "You can also use GET calls on our API to check the last data packet received",
        f"{_WATTICS}collector:WatticsCollector.last",
        _LAST,
    ),
    Row(
        "to confirm that packets have been received",
        "energy_etl.delivery.standing:Standing.confirm",
        _IN_ORDER,
    ),
    Row(
        "remove ‘dev-‘ from the url when pushing data to our production environment",
        f"{_WATTICS}settings:LIVE_URL",
        f"{_TESTS}test_settings.py::test_production_is_the_default",
    ),
    *left_out(_BY_HAND, "also check the timestamps and values shown in our dashboard"),
    Row(
        "experiment pushing a batch of historical data",
        "energy_etl.delivery.outbox:Outbox.fill",
        f"{_DELIVERY}test_outbox.py::"
        "test_a_new_packet_behind_the_last_one_sent_is_held_with_its_reason",
    ),
    *left_out(
        _BY_HAND,
        "Once tests are green the Wattics Team will enable new organisations",
        "User accounts will be created to allow end-users to log in",
        "you can contact us for any questions",
    ),
)

_JAVA = left_out(
    _THEIR_CLIENT,
    "You’ll need a local copy of the example code",
    "you will have the library available as a maven dependency",
    "some basic code to get started with the library",
)

_CSV_LINES = f"{_TESTS}test_files_csv.py::test_lines_are_read_as_by_a_slow_reader"
_CSV_WHY = f"{_TESTS}test_files_csv.py::test_a_bad_line_is_told_with_its_number_and_what_to_write"
_PARSE_CSV = f"{_WATTICS}files_csv:parse_csv"

_SWARM = (
    Row(
        "swarm config_file.ini",
        f"{_WATTICS}files_ini:read_ini",
        f"{_TESTS}test_files.py::test_an_ini_of_swarm_says_file_stream_and_fields",
    ),
    Row("The CSV structure consists of:", _PARSE_CSV, _CSV_LINES),
    Row(
        "otherwise only one measurement column is allowed",
        f"{_WATTICS}files:read_packets",
        f"{_TESTS}test_files.py::"
        "test_electrical_columns_stand_in_the_vendors_order_and_empty_cells_are_left_out",
    ),
    Row("No header is expected", _PARSE_CSV, _CSV_WHY),
    *rows_of(
        (
            "Measurements values are float numbers, where the decimal digits separator is “.” "
            "(dot)",
            "The expected separator character is “,” (comma)",
        ),
        _PARSE_CSV,
        _CSV_WHY,
    ),
    Row("The expected timestamp format is “%Y-%m-%d %H:%M:%S”", _PARSE_CSV, _CSV_LINES),
)

_RUBY = (
    *left_out(_THEIR_CLIENT, "Add the gem to you Gemfile and run bundle install."),
    Row(
        "wait_until_last must be included at the end of all sends",
        f"{_SENDER}drain",
        f"{_DELIVERY}test_kill.py::test_kills_at_random_moments_lose_and_double_nothing",
    ),
    Row(
        "You may also want send groups of measurements.",
        f"{_WATTICS}files_json:parse_json",
        f"{_TESTS}test_files.py::test_a_mixed_group_of_json_lines_becomes_packets_of_its_streams",
    ),
    Row(
        "For this you have access to measurement and response.",
        "energy_etl.delivery.mirror:packet_frame",
        f"{_DELIVERY}test_mirror.py::test_frames_say_what_became_of_each_packet",
    ),
    *left_out(
        "A later release calls code of the user; until then push.packet can be queried.",
        "You can set different handlers for the callbacks using add_measurement_sent_handler.",
        "Priting to the console and saving to a file.",
    ),
    Row(
        "the gem will keep trying until it is sent",
        "energy_etl.delivery.stream_sender:StreamSender._send",
        f"{_DELIVERY}test_sender.py::test_a_fault_in_the_middle_loses_and_doubles_nothing",
    ),
    Row(
        "Errors will be logged to the terminal.",
        "energy_etl.delivery.limits:DrainReport.sentences",
        f"{_DELIVERY}test_sender.py::"
        "test_a_collector_that_is_down_ends_in_bounded_time_and_the_next_run_resumes",
    ),
    *rows_of(
        (
            "Not registered or wrong credentials.",
            "HTTP Status 401 - Full authentication is required to access this resource",
        ),
        f"{_WATTICS}collector:WatticsCollector.post",
        f"{_TESTS}test_collector.py::test_a_wrong_password_is_an_answer_without_the_password",
    ),
    *rows_of(
        (
            "Internet connection down.",
            "Failed to open TCP connection to web-collector.wattics.com:443",
        ),
        f"{_WATTICS}collector:WatticsCollector._unreachable",
        f"{_TESTS}test_collector.py::"
        "test_nobody_who_listens_is_surely_not_sent_and_names_the_sandbox",
    ),
    *left_out(
        "Streams are sent in parallel by one process; processors set no number.",
        "it will spin twice as many as virtual processors as system has available",
    ),
    Row(
        "you may want to limit how many processes are created",
        f"{_WATTICS}settings:WatticsSettings.max_parallel_streams",
        _MOST,
    ),
    Row(
        "In case you exceed the maximum limit",
        f"{_WATTICS}settings:WatticsSettings.max_parallel_streams",
        f"{_TESTS}test_settings.py::test_more_parallel_streams_than_the_maximum_are_refused",
    ),
    *left_out(_MARKETING, "Contact us to get a quote or a custom-tailored demonstration"),
    *left_out(
        _MARKETING,
        "Learn more about the analytics tools",
        "Sign up to keep up-to-date",
    ),
)

DOCUMENT = Document(
    vendor="wattics",
    title="Wattics Energy Management Software API",
    rows=(*_START, *_CLIENT, *_FORMAT, *_TESTING, *_JAVA, *_SWARM, *_RUBY, *READ_API),
    clients=(
        "energy_etl.vendors.wattics.collector:WatticsCollector",
        "energy_etl.vendors.wattics.api_client:WatticsApiClient",
    ),
)
