"""Digiwatt Services API documentation (1.0): ten endpoints, their first level, and the token.

Below the first level the document is folded (`{ }`), and it names no error status: both are
modelled in the package, told as such there, and have no rows here.
"""

from energy_etl_tests.documents import Document, Row, left_out, rows_of

_CLIENT = "energy_etl.vendors.digiwatt.client:"
_WIRE = "energy_etl.vendors.digiwatt.wire:"
_AUTH = "energy_etl.auth:ClientCredentialsAuth"
_TESTS = "energy_etl_tests/vendors/digiwatt/"
_ASKED = f"{_TESTS}test_client.py::test_each_method_asks_its_endpoint"
_PARSED = f"{_TESTS}test_rows.py::test_sample_fills_its_table_without_drift"
_FIGURES = f"{_TESTS}test_to_core.py::test_figures_of_a_period_meet_in_one_row"
_UNITS = f"{_TESTS}test_rows.py::test_consumption_is_kept_in_kwh_and_savings_in_wh"
_PRICE = (
    f"{_TESTS}test_to_core.py::"
    "test_household_price_agrees_across_endpoints_only_with_kwh_and_wh_told_apart"
)
_FORM = (
    "energy_etl_tests/test_auth.py::"
    "test_token_is_asked_for_with_the_documented_form_and_sent_with_its_own_type"
)

_TOKEN = (
    *left_out(
        "The specification behind the link is not at hand: all paths but the token's are modelled, "
        "in one table of the client.",
        "Download OpenAPI specification:Download",
    ),
    Row("HTTP Authorization Scheme bearer", f"{_AUTH}.auth_flow", _FORM),
    Row(
        "follow the OAuth2 specification for client credentials grant",
        _AUTH,
        f"{_TESTS}test_client.py::test_wrong_secret_is_told_once_without_it",
    ),
    Row(
        "the client must call the /auth/token endpoint to get the bearer token",
        f"{_CLIENT}TOKEN_PATH",
        f"{_TESTS}test_client.py::test_expired_token_in_mid_run_loses_nothing",
    ),
    Row(
        "a json object containing the access token, the token lifetime and the token type",
        f"{_AUTH}._parse",
        "energy_etl_tests/test_auth.py::test_token_endpoint_that_fails_is_told_by_kind",
    ),
    *rows_of(
        (
            "Token type and access token must set in Authorization header",
            "token_type access_token",
            "Example: Authorization: Bearer",
        ),
        f"{_AUTH}._sign",
        _FORM,
    ),
    *rows_of(
        (
            "The OAuth2 client_credentials authentication flow.",
            "Request Body schema: application/x-www-form-urlencoded",
            "client_id string",
            "client_secret string",
            "grant_type string",
            'Default: "client_credentials"',
        ),
        f"{_AUTH}._fetch",
        _FORM,
    ),
    Row(
        '"access_token":',
        "energy_etl.tokens:Token.access_token",
        "energy_etl_tests/test_auth.py::test_four_threads_and_two_processes_fetch_one_token",
    ),
    Row(
        '"expires_in": 36000',
        "energy_etl.tokens:Token.is_fresh",
        "energy_etl_tests/test_auth.py::test_token_near_its_end_is_renewed_before_it_is_refused",
    ),
    Row('"token_type": "Bearer"', "energy_etl.tokens:Token.token_type", _FORM),
)

_PARAMETERS = (
    Row(
        "string (SmartmeterId) Example: 125fd56",
        f"{_CLIENT}SmartMeter",
        f"{_TESTS}test_client.py::test_many_meters_with_any_id_are_fetched_whole_and_replayed",
    ),
    Row(
        "ID of the smartmeter. It must be any non-empty string",
        "energy_etl.rest:build_path",
        "energy_etl_tests/rest/test_client.py::"
        "test_id_that_cannot_stand_in_a_path_is_refused_by_name",
    ),
    *left_out(
        "Digiwatt's answer decides: an id with a blank goes out percent-encoded and the meter is "
        "told as not found, which stops no other.",
        "string without whitespaces.",
    ),
    Row(
        'Enum: "yesterday" "last-seven-days" "this-week" "last-week" "this-month" "last-month"',
        f"{_CLIENT}PERIODS",
        f"{_TESTS}test_client.py::test_each_period_of_the_document_is_asked_for_and_answered",
    ),
    Row(
        "One of the allowed values that represent the requested period.",
        "energy_etl.periods:period_window",
        "energy_etl_tests/test_periods.py::"
        "test_each_period_seen_from_a_wednesday_has_the_windows_of_the_rules",
    ),
    Row(
        "Content type application/json",
        f"{_WIRE}parse_json",
        f"{_TESTS}test_rows.py::test_any_json_ends_in_rows_or_a_named_problem",
    ),
)

_PERIOD_ENDPOINTS = (
    Row(
        "The costs in the specified period and the trend compared to previous period.",
        f"{_CLIENT}DigiwattClient.fetch_estimated_costs",
        _ASKED,
    ),
    Row('"value": 29.63', f"{_WIRE}Figure.value", _FIGURES),
    Row('"previousPeriodValueTrend": 20', f"{_WIRE}Figure.trend_pct", _FIGURES),
    Row(
        "The consumptions in the specified period and the trend compared to previous period.",
        f"{_CLIENT}DigiwattClient.fetch_consumption",
        _ASKED,
    ),
    Row('"value": 73.61', f"{_WIRE}Figure.value", _PRICE),
    Row('"previousPeriodValueTrend": 19', f"{_WIRE}Figure.trend_pct", _FIGURES),
    Row(
        "the trend compared to previous period",
        "energy_etl.transform.trends:compute_period_trends",
        "energy_etl_tests/transform/test_trends.py::"
        "test_the_vendors_figure_stands_beside_the_mains_register_of_its_meter",
    ),
    Row(
        "The total consumptions for each appliance in the specified period.",
        f"{_CLIENT}DigiwattClient.fetch_consumption_distribution",
        f"{_TESTS}test_client.py::test_sum_of_the_distribution_is_the_consumption",
    ),
    Row(
        "The user's performance in the specified period compared to similar users.",
        f"{_CLIENT}DigiwattClient.fetch_performance",
        _ASKED,
    ),
    Row('"minConsumption": 10', f"{_WIRE}Performance.min_consumption", _FIGURES),
    Row('"maxConsumption": 130', f"{_WIRE}Performance.max_consumption", _FIGURES),
    Row('"userConsumption": 73.61', f"{_WIRE}Performance.user_consumption", _PARSED),
    Row(
        "The disaggregated consumptions for each appliance in the specified period.",
        f"{_CLIENT}DigiwattClient.fetch_disaggregation",
        f"{_TESTS}test_to_core.py::test_series_becomes_appliance_intervals",
    ),
)

_SAVINGS = (
    Row(
        "The consumptions information collected in the last 30 days.",
        f"{_CLIENT}DigiwattClient.fetch_savings",
        _PRICE,
    ),
    Row('"estimatedConsumption": 253900', f"{_WIRE}Savings.estimated_consumption", _PRICE),
    Row('"estimatedCost": 101.9', f"{_WIRE}Savings.estimated_cost", _PRICE),
    Row('"performance": {', f"{_WIRE}Savings.performance", _UNITS),
    Row('"washingMachine": {', f"{_WIRE}Savings.washing_machine", _UNITS),
    Row('"dishwasher": {', f"{_WIRE}Savings.dishwasher", _UNITS),
    Row('"fridge": {', f"{_WIRE}Savings.fridge", _UNITS),
    Row('"standby": {', f"{_WIRE}Savings.standby", _UNITS),
)

_HISTORIES = (
    Row(
        "The consumptions history of the last 12 months.",
        f"{_CLIENT}DigiwattClient.fetch_consumption_history",
        _PARSED,
    ),
    Row(
        "The costs history of the last 12 months.",
        f"{_CLIENT}DigiwattClient.fetch_costs_history",
        _PARSED,
    ),
    Row(
        '"forecast": {',
        f"{_WIRE}CostsHistory.forecast",
        f"{_TESTS}test_rows.py::test_forecast_without_a_month_is_the_running_one",
    ),
    Row('"costs": [', f"{_WIRE}CostsHistory.costs", _PARSED),
    Row(
        "The consumptions history for each appliance of the last 12 months.",
        f"{_CLIENT}DigiwattClient.fetch_yearly_consumption_distribution",
        f"{_TESTS}test_rows.py::test_both_shapes_of_the_yearly_distribution_give_the_same_rows",
    ),
    Row(
        "The compound consumptions of the last 12 months.",
        f"{_CLIENT}DigiwattClient.fetch_yearly_compound_consumption",
        _PARSED,
    ),
)

DOCUMENT = Document(
    vendor="digiwatt",
    title="Digiwatt Services API documentation (1.0)",
    rows=(*_TOKEN, *_PARAMETERS, *_PERIOD_ENDPOINTS, *_SAVINGS, *_HISTORIES),
    clients=("energy_etl.vendors.digiwatt.client:DigiwattClient",),
)
