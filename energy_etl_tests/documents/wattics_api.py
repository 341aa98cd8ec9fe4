"""Wattics' read and management API, to which the vendor's page only refers."""

from energy_etl_tests.documents import Row

# Where the document sends the reader: "[Refer to API documentation: ...]".
_DEVELOPERS = "Wattics' developer pages, as public clients of them show"
_WATTICS = "energy_etl.vendors.wattics."
_TESTS = "energy_etl_tests/vendors/wattics/"
_API = f"{_TESTS}test_api_client.py::"
_ROWS = f"{_TESTS}test_api_rows.py::"
EACH_ENDPOINT = f"{_API}test_each_endpoint_is_asked_at_its_path"

_CLIENT_OF_API = f"{_WATTICS}api_client:WatticsApiClient."
_METHODS = {
    "GET /organizations": "fetch_organizations",
    "GET /organizations/ID": "fetch_organization",
    "GET /organizations/ID/metadata": "fetch_organization_metadata",
    "GET /sites?organization_id=": "fetch_sites",
    "GET /sites/ID": "fetch_site",
    "GET /sites/ID/metadata": "fetch_site_metadata",
    "GET /sites/ID/tariffs": "fetch_site_tariffs",
    "GET /meters?organization_id=&site_id=": "fetch_meters",
    "GET /meters/ID": "fetch_meter",
    "GET /meters/ID/metadata": "fetch_meter_metadata",
    "GET /appliances?organization_id=&site_id=&meter_id=": "fetch_appliances",
    "GET /appliances/ID": "fetch_appliance",
    "GET /appliances/ID/metadata": "fetch_appliance_metadata",
    "GET /meters/ID/raw_data?from=&to=&data_type=&show_phases=": "fetch_raw_data",
    "GET /meters/ID/consumptions?month=&year=&detailed=": "fetch_consumptions",
    "GET /meters/ID/costs?month=&year=&detailed=": "fetch_costs",
}


def _row_of_api(quote: str, where: str, test: str) -> Row:
    return Row(quote, f"{_WATTICS}{where}", test, page=_DEVELOPERS)


READ_API = (
    *(
        Row(quote, _CLIENT_OF_API + method, EACH_ENDPOINT, page=_DEVELOPERS)
        for quote, method in _METHODS.items()
    ),
    _row_of_api(
        "'Authorization': 'YOUR_API_TOKEN_HERE'",
        "api_client:WatticsApiClient",
        f"{_API}test_bodies_and_the_bare_token_are_sent_as_clients_were_seen_to_send_them",
    ),
    _row_of_api(
        'POST /organizations {"organization": {"name": ...}}',
        "api_client:WatticsApiClient.create_organization",
        f"{_API}test_what_is_created_is_listed_and_its_stream_takes_packets",
    ),
    _row_of_api(
        'POST /sites {"site": {"organization_id": ..., "name": ..., "city": ..., ...}}',
        "api_client:WatticsApiClient.create_site",
        f"{_API}test_what_is_created_is_listed_and_its_stream_takes_packets",
    ),
    _row_of_api(
        'POST /meters {"meter": {"reference": ..., "param_type": "all", "reading": "cum", ...}}',
        "api_client:WatticsApiClient.create_meter",
        f"{_API}test_bodies_and_the_bare_token_are_sent_as_clients_were_seen_to_send_them",
    ),
    _row_of_api(
        "raw-data requests cannot exceed 90 days",
        "api_client:RawDataWanted.windows",
        f"{_API}test_long_raw_data_is_asked_for_in_windows_that_meet",
    ),
    _row_of_api(
        '"total_consumption": "300500.0 Watt"',
        "api_wire:AMOUNT_PATTERN",
        f"{_ROWS}test_amounts_are_numbers_and_watt_is_read_as_wh",
    ),
    _row_of_api(
        '"consumption_by_time": {"00h00m": "1024.03 Watt", ...}',
        "api_wire:Day",
        f"{_ROWS}test_amounts_are_numbers_and_watt_is_read_as_wh",
    ),
    _row_of_api(
        "rows {timestamp, total|value}",
        "api_wire:RawRow",
        f"{_ROWS}test_raw_rows_are_read_in_both_members_and_both_formats",
    ),
    _row_of_api(
        "lists are bare arrays",
        "reading:Reading.rows",
        f"{_ROWS}test_answer_that_is_no_list_is_a_problem_by_name",
    ),
    _row_of_api(
        "401, 403, 404, 429 with Retry-After, 5xx",
        "api_client:WatticsApiClient",
        f"{_API}test_status_is_an_error_that_says_what_to_do",
    ),
    *(
        Row(quote, left_out=reason, page=_DEVELOPERS)
        for quote, reason in (
            (
                "PATCH and DELETE of organizations, sites, meters",
                "Nothing is changed or taken away.",
            ),
            ("POST /appliances", "Appliances are split up by Wattics, not provisioned from here."),
            ("POST /users, GET /users/ID/associated_sites", "Users are managed in the dashboard."),
        )
    ),
)
