"""SmartgridOne's API page on licences, and what else of its OpenAPI document is implemented.

The page shows one endpoint whole (activate a licence) and names its neighbours. The rest of the
rows comes from the vendor's other pages, which are not at hand: their quotes are not looked up.
"""

from energy_etl_tests.documents import Document, Row, left_out, rows_of

_CLIENT = "energy_etl.vendors.smartgridone.client:SmartgridOneClient."
_WIRE = "energy_etl.vendors.smartgridone.wire:"
_LOGIN = "energy_etl.auth:LoginAuth."
_TESTS = "energy_etl_tests/vendors/smartgridone/"
_LOGIN_TESTS = "energy_etl_tests/auth/test_login.py::"
_REST_TESTS = "energy_etl_tests/rest/test_client.py::"
_API_PAGES = "Eniris Metadata & Telemetry Query API 1.0.0"
_AUTH_PAGES = "Eniris Authentication API"

_ASKED = f"{_TESTS}test_client.py::test_inventory_lists_everything_with_one_login"
_PATCHED = f"{_TESTS}test_client.py::test_device_that_somebody_changed_since_is_not_overwritten"
_BATCHED = f"{_TESTS}test_telemetry.py::test_calls_hold_no_more_queries_and_rows_than_allowed"
_FETCHED = (
    f"{_TESTS}test_client.py::test_telemetry_is_the_truth_of_the_register_with_import_positive"
)
_PACED = f"{_TESTS}test_telemetry.py::test_pacer_waits_until_the_budget_has_what_a_call_will_cost"
_WAITED = f"{_TESTS}test_client.py::test_retry_after_is_obeyed_by_all_threads_and_nobody_is_banned"
_HALVED = (
    f"{_TESTS}test_client.py::"
    "test_call_that_costs_more_than_the_budget_is_halved_and_never_sent_again_as_it_was"
)
_ACTIVATED = f"{_TESTS}test_changes.py::test_activation_is_done_once_and_read_back"
_CLAIMED = f"{_TESTS}test_changes.py::test_claim_links_the_licence_to_the_controller"
_OUTDATED = f"{_TESTS}test_changes.py::test_device_changed_in_between_is_a_412_told_plainly"
_MODES = f"{_TESTS}test_changes.py::test_mode_decides_what_becomes_of_the_other_properties"
_LISTED = f"{_TESTS}test_rows.py::test_licences_are_listed_per_controller_and_per_customer"
_PARSED = f"{_TESTS}test_rows.py::test_device_carries_what_its_properties_say"
_RELATED = f"{_TESTS}test_rows.py::test_roles_monitors_and_companies_become_rows"
_KEY = f"{_TESTS}test_client.py::test_key_of_a_wrong_length_is_never_sent"
_OUTCOMES = f"{_TESTS}test_pages.py::test_each_query_has_its_own_outcome"
_RENEWED = f"{_LOGIN_TESTS}test_access_token_is_replaced_at_225_seconds_without_a_login"
_PERMANENT = f"{_REST_TESTS}test_permanent_status_is_asked_once"
_STATUS = "energy_etl.rest.failures:Failures.of_status"

_NAVIGATION = (
    Row("Activate a license POST", f"{_CLIENT}activate_license", _ACTIVATED),
    Row("Claim a license for a controller POST", f"{_CLIENT}claim_license", _CLAIMED),
    Row(
        "Get licenses linked to a controller by nodeId GET",
        f"{_CLIENT}fetch_controller_licenses",
        _ASKED,
    ),
    Row("Get licenses for a customer GET", f"{_CLIENT}fetch_customer_licenses", _ASKED),
    Row("Update an existing device PUT", f"{_CLIENT}update_device", _OUTDATED),
    *rows_of(
        (
            "this role has a monitors relation with monitorManagement rights.",
            "these relations allow to edit are a subset of the device properties",
        ),
        "energy_etl.vendors.smartgridone.states:DeviceState.may_edit",
        f"{_TESTS}test_changes.py::test_update_plan_shows_only_what_is_touched_and_what_guards_it",
    ),
    Row(
        "Link a license to a controller by creating an entry in license_datalink",
        f"{_WIRE}License.datalinks",
        _LISTED,
    ),
)

_ACCESS = (
    *rows_of(
        ("accessBearerAuth", "AuthorizationBearer <token>", "In: header"),
        "energy_etl.auth:RenewedTokenAuth",
        _RENEWED,
    ),
    Row("It has a 10 minutes validity period.", f"{_LOGIN}__init__", _RENEWED),
    Row(
        "A valid token can be obtained via the /accesstoken endpoint",
        "energy_etl.auth.login:ACCESS_PATH",
        f"{_LOGIN_TESTS}test_first_call_logs_in_and_later_ones_use_the_stored_token",
    ),
    Row(
        "AFTER authorization with refreshBearerAuth and the refresh token.",
        "energy_etl.tokens:Token.refresh_token",
        f"{_LOGIN_TESTS}test_first_call_logs_in_and_later_ones_use_the_stored_token",
    ),
)

_ACTIVATION = (
    Row("/v1/license/activate", "energy_etl.vendors.smartgridone.client:PATHS", _ACTIVATED),
    Row(
        "Set the activation date for a license to the current timestamp",
        "energy_etl.vendors.smartgridone.changes:AT_THE_CALL",
        _ACTIVATED,
    ),
    *rows_of(
        (
            "Request Body",
            "key*string",
            "The license key to activate",
            "activationIso?string",
            "Optional activation timestamp (ISO 8601 string)",
        ),
        "energy_etl.vendors.smartgridone.changes:ActivateLicense",
        _ACTIVATED,
    ),
    Row(
        "Length1 <= length <= 50",
        "energy_etl.vendors.smartgridone.client:checked_key",
        _KEY,
    ),
    Row("Formatdate-time", "energy_etl.vendors.smartgridone.client:to_iso", _ACTIVATED),
    Row(
        '"success": true',
        "energy_etl.vendors.smartgridone.change_rows:change_row",
        f"{_TESTS}test_changes.py::test_outcome_is_judged_by_the_answer_and_without_one_by_the_state",
    ),
    Row('"license": {', "energy_etl.vendors.smartgridone.states:LicenceState", _ACTIVATED),
    Row('"id": "497f6eca', f"{_WIRE}License.license_id", _LISTED),
    Row('"key": "string"', f"{_WIRE}License.key", _LISTED),
    Row('"gridKw": null', f"{_WIRE}License.grid_kw", _LISTED),
    Row('"solarKw": null', f"{_WIRE}License.solar_kw", _LISTED),
    Row('"batteryKw": null', f"{_WIRE}License.battery_kw", _LISTED),
    Row('"evKw": null', f"{_WIRE}License.ev_kw", _LISTED),
    Row('"creationDate": "2019-08-24T14:15:22Z"', f"{_WIRE}License.creation_at", _LISTED),
    Row('"activationDate": null', f"{_WIRE}License.activation_at", _LISTED),
    Row(
        '"duration": 0',
        f"{_WIRE}License.duration",
        f"{_TESTS}test_licence_mart.py::"
        "test_status_and_end_follow_from_activation_duration_and_claim",
    ),
    Row('"deactivationDate": null', f"{_WIRE}License.deactivation_at", _LISTED),
    Row('"type": "residential"', f"{_WIRE}License.license_type", _LISTED),
)

_ERRORS = (
    *rows_of(
        (
            '"statusCode": 400',
            '"error": "Bad Request"',
            '"message": "Missing or misformatted query parameter or body"',
            '"statusCode": 403',
            '"error": "Forbidden"',
            '"message": "User does not have sufficient rights"',
            '"statusCode": 404',
            '"error": "Not Found"',
            '"message": "Resource not found"',
        ),
        _STATUS,
        _PERMANENT,
    ),
    *rows_of(
        (
            '"statusCode": 401',
            '"error": "Unauthorized"',
            '"message": "Failed to verify token"',
        ),
        "energy_etl.auth:RenewedTokenAuth",
        f"{_LOGIN_TESTS}test_access_token_that_is_refused_is_replaced_once_and_the_call_repeated",
    ),
    *left_out(
        "Words of the page around its samples, for readers of TypeScript and of the sample.",
        "Use the request body type in TypeScript.",
        "TypeScript Definitions",
    ),
)

_PAGES = (
    Row(
        "POST /auth/login: username, password (at most 256 characters each)",
        f"{_LOGIN}_log_in",
        f"{_LOGIN_TESTS}test_first_call_logs_in_and_later_ones_use_the_stored_token",
        page=_AUTH_PAGES,
    ),
    Row(
        "401 PASSWORD_INCORRECT",
        f"{_LOGIN}_log_in",
        f"{_LOGIN_TESTS}test_login_that_fails_is_told_by_kind_and_nothing_is_stored",
        page=_AUTH_PAGES,
    ),
    Row(
        "429 TOO_MANY_FAILED_PASSWORD_CHECKS, retryAfter",
        "energy_etl.auth.login:_retry_after_s",
        f"{_LOGIN_TESTS}test_lock_tells_how_long_it_lasts",
        page=_AUTH_PAGES,
    ),
    Row(
        "GET /auth/accesstoken",
        f"{_LOGIN}_access",
        _RENEWED,
        page=_AUTH_PAGES,
    ),
    Row(
        "GET /auth/refreshtoken",
        f"{_LOGIN}_kept_refresh",
        f"{_LOGIN_TESTS}test_refresh_token_is_renewed_in_the_second_half_of_its_life",
        page=_AUTH_PAGES,
    ),
    *(
        Row(
            quote,
            left_out="The token file lives on for the next run: nothing asks and nothing ends it.",
            page=_AUTH_PAGES,
        )
        for quote in ("GET /auth/refreshtoken/validate", "POST /auth/logout")
    ),
    Row("POST /v1/device/query", f"{_CLIENT}fetch_devices", _ASKED, page=_API_PAGES),
    Row(
        "skipHash: base64 of SHA-256 over lastUpdate, devices sorted by id; 204",
        "energy_etl.vendors.smartgridone.rows:skip_hash_of",
        f"{_TESTS}test_rows.py::test_skip_hash_is_over_the_texts_as_sent_sorted_by_number",
        page=_API_PAGES,
    ),
    Row(
        "GET /v1/device (replaced by POST /v1/device/query)",
        left_out="Deprecated by the vendor in favour of the query.",
        page=_API_PAGES,
    ),
    Row("lastUpdate, properties, userRights", f"{_WIRE}Device", _PARSED, page=_API_PAGES),
    Row(
        "mode: strict, legacy or merge",
        "energy_etl.vendors.smartgridone.changes:changed_properties",
        _MODES,
        page=_API_PAGES,
    ),
    Row(
        "If-Unmodified-Since; 412 if a device was updated after the specified time",
        "energy_etl.vendors.smartgridone.client:to_precondition",
        _OUTDATED,
        page=_API_PAGES,
    ),
    Row("PATCH /v1/device/{deviceId}", f"{_CLIENT}patch_device", _PATCHED, page=_API_PAGES),
    Row("POST /v1/role/query", f"{_CLIENT}fetch_roles", _RELATED, page=_API_PAGES),
    Row(
        "POST /v1/role/{roleId}/monitors/query",
        f"{_CLIENT}fetch_monitors",
        _RELATED,
        page=_API_PAGES,
    ),
    Row("GET /v1/company", f"{_CLIENT}fetch_companies", _RELATED, page=_API_PAGES),
    Row(
        "includeDatalinks: include linked datalink IDs for each license",
        f"{_WIRE}License.datalinks",
        _LISTED,
        page=_API_PAGES,
    ),
    Row("POST /v1/telemetry/query", f"{_CLIENT}fetch_telemetry", _FETCHED, page=_API_PAGES),
    Row(
        "Execute up to 1000 telemetry queries",
        "energy_etl.vendors.smartgridone.settings:MOST_STATEMENTS",
        _BATCHED,
        page=_API_PAGES,
    ),
    Row(
        "where.time: at most two bounds; where.tags",
        "energy_etl.vendors.smartgridone.telemetry:Query.statement",
        f"{_TESTS}test_telemetry.py::test_statement_has_one_field_both_bounds_and_the_devices_tags",
        page=_API_PAGES,
    ),
    Row(
        "nodeInfluxSeries: database, retentionPolicy, measurement, fields, tags",
        f"{_WIRE}InfluxSeries",
        f"{_TESTS}test_telemetry.py::"
        "test_field_is_read_from_the_first_preferred_policy_that_has_it",
        page="public clients of the vendor's API",
    ),
    Row(
        "statement_id, series or error: each statement has its own outcome",
        f"{_WIRE}Result",
        _OUTCOMES,
        page=_API_PAGES,
    ),
    Row(
        "time as an ISO 8601 text or in milliseconds",
        "energy_etl.vendors.smartgridone.pages:read_answers",
        f"{_TESTS}test_pages.py::test_time_is_read_as_text_and_as_milliseconds",
        page=_API_PAGES,
    ),
    Row(
        "X-RateLimit-Cost, X-RateLimit-Remaining, X-RateLimit-Used",
        "energy_etl.vendors.smartgridone.telemetry:Pacer.settle",
        _PACED,
        page=_API_PAGES,
    ),
    Row(
        "429: Retry-After; ignoring it 10 times in 60 s bans the address for 300 s",
        f"{_CLIENT}_patiently",
        _WAITED,
        page=_API_PAGES,
    ),
    Row(
        "422: the query costs more than the bucket holds",
        "energy_etl.vendors.smartgridone.telemetry:Pacer.refused",
        _HALVED,
        page=_API_PAGES,
    ),
)

DOCUMENT = Document(
    vendor="smartgridone",
    title="SmartgridOne logo",
    rows=(*_NAVIGATION, *_ACCESS, *_ACTIVATION, *_ERRORS, *_PAGES),
    clients=("energy_etl.vendors.smartgridone.client:SmartgridOneClient",),
)
