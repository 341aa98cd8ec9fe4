"""Wiser Energy Monitoring Cloud API: what it offers, and OAuth2 by authorisation code.

It is an overview: paths, fields, lists and errors are those of the vendor's sibling APIs, whose
statements have rows of their own at the end (`page`).
"""

from energy_etl_tests.documents import Document, Row, left_out, rows_of

_CLIENT = "energy_etl.vendors.wiser.client:WiserClient."
_TESTS = "energy_etl_tests/vendors/wiser/"
_AUTH = "energy_etl_tests/auth/"
_INVENTORY = f"{_TESTS}test_client.py::test_inventory_lists_locations_sites_rooms_and_devices"
_ASKED = (
    f"{_AUTH}test_authorization_request.py::test_address_asks_for_what_the_document_names_and_pkce"
)
_REDEEMED = (
    f"{_AUTH}test_authorization_code.py::test_code_is_redeemed_with_the_documented_form_and_stored"
)
_RENEWED = (
    f"{_AUTH}test_authorization_code.py::test_expired_token_is_renewed_with_the_documented_form"
)
_REDEEM = "energy_etl.auth:AuthorizationCodeAuth.redeem"
_REFRESH = "energy_etl.auth:AuthorizationCodeAuth._refresh"
_REQUEST = "energy_etl.auth.authorization_request:AuthorizationRequest.new"
_SIBLINGS = "Schneider Electric Exchange, sibling APIs"

_OFFER = (
    Row(
        "allows partner to view the metadata information of the Devices in a site or location",
        "energy_etl.vendors.wiser.tables:DEVICE",
        f"{_TESTS}test_rows.py::test_room_and_device_are_read_with_where_they_are",
    ),
    Row(
        "This API enables the following features:",
        "energy_etl.vendors.wiser.tables:WISER_TABLES",
        _INVENTORY,
    ),
    Row(
        "Easily find out which locations are available for your customer portfolio.",
        f"{_CLIENT}fetch_locations",
        _INVENTORY,
    ),
    Row("Overview of Sites, Rooms & Devices", f"{_CLIENT}fetch_sites", _INVENTORY),
    Row("Sites, Rooms and Devices Information", f"{_CLIENT}fetch_rooms", _INVENTORY),
    Row(
        "Review all the metering devices connected to any given site in your portfolio.",
        f"{_CLIENT}fetch_devices",
        _INVENTORY,
    ),
)

_SIGN_UP = (
    *left_out(
        "Done once by a person in the vendor's portal.",
        "Register or login with an Exchange account.",
        "Subscribe to the API product in our Shop.",
    ),
    Row(
        "API credentials and usage details for the API are available in developer portal",
        "energy_etl.vendors.wiser.settings:WiserSettings.client_secret",
        f"{_TESTS}test_consent.py::test_missing_credential_is_told_with_both_variables",
    ),
)

_CONSENT = (
    Row(
        "This API supports the following authentication mechanism:",
        "energy_etl.auth:AuthorizationCodeAuth",
        f"{_TESTS}test_consent.py::test_customer_who_allows_gives_a_token_that_opens_the_api",
    ),
    Row(
        "ISV applications that have obtained authorization from a Schneider Electric customer",
        "energy_etl.vendors.wiser.settings:WiserSettings.account",
        f"{_TESTS}test_client.py::test_account_nobody_authorised_is_one_sentence_and_no_call",
    ),
    Row(
        "your application should initiate the Authorization and Consent flow by calling the "
        "Authorize Endpoint",
        "energy_etl.vendors.wiser.consent:authorize",
        f"{_TESTS}test_consent.py::test_customer_who_allows_gives_a_token_that_opens_the_api",
    ),
    Row("client_id=YOUR_CLIENT_ID", _REQUEST, _ASKED),
    Row("response_type=code", _REQUEST, _ASKED),
    Row("redirect_uri=YOUR_REDIRECT_URI", _REQUEST, _ASKED),
    Row(
        "scope=required_scope1 required_scope2",
        "energy_etl.vendors.wiser.settings:WiserSettings.scope",
        _ASKED,
    ),
    Row("state=YOUR_STATE_STRING", _REQUEST, _ASKED),
    Row(
        "Upon successful authorization and user consent",
        "energy_etl.auth.authorization_request:AuthorizationRequest.code_of",
        f"{_TESTS}test_consent.py::test_customer_who_denies_is_told_and_nothing_is_stored",
    ),
    Row(
        "an authorization code will be appended as a query parameter",
        "energy_etl.auth.authorization_request:AuthorizationRequest.is_answered_by",
        f"{_AUTH}test_authorization_request.py::test_answer_with_our_state_brings_the_code",
    ),
)

_TOKENS = (
    Row("you need to exchange it for an access token", _REDEEM, _REDEEMED),
    *rows_of(
        (
            "grant_type=authorization_code",
            "code=RECEIVED_AUTHORIZATION_CODE",
            "client_secret=YOUR_CLIENT_SECRET",
        ),
        _REDEEM,
        _REDEEMED,
    ),
    Row(
        "This will return an access_token and a refresh_token.",
        "energy_etl.tokens:Token",
        _REDEEMED,
    ),
    Row(
        "Your access_token will be valid for 1 hour.",
        "energy_etl.vendors.wiser.consent:ACCESS_LIFETIME_S",
        f"{_AUTH}test_authorization_code.py::test_token_is_renewed_a_minute_or_half_its_life_early",
    ),
    Row(
        "To get a new one without requiring the user to log in again, use the refresh_token.",
        _REFRESH,
        _RENEWED,
    ),
    Row("grant_type=refresh_token", _REFRESH, _RENEWED),
    Row("refresh_token=YOUR_REFRESH_TOKEN", _REFRESH, _RENEWED),
    Row(
        "your ISV application can securely interact with Schneider Electric's API services",
        "energy_etl.vendors.wiser.consent:build_auth",
        _INVENTORY,
    ),
)

_SUPPORT = (
    Row(
        "Endpoint URL",
        "energy_etl.tables.raw:REQUEST",
        "energy_etl_tests/rest/test_client.py::test_permanent_status_is_asked_once",
    ),
    Row(
        "Request/Response of the URL",
        "energy_etl.tables.raw:BODY",
        f"{_TESTS}test_client.py::test_replay_from_raw_gives_the_same_batch",
    ),
    *left_out(
        "Advice to people who ask the vendor for help.",
        "Contact our Exchange support team",
        "Any additional information like Screenshots, Postman collections",
        "Get help from the community here.",
    ),
)

_LIKE_SIBLINGS = (
    Row(
        "Short lists are bare arrays",
        "energy_etl.vendors.wiser.wire:read_page",
        f"{_TESTS}test_client.py::"
        "test_bare_list_of_a_full_page_is_asked_on_and_ends_when_it_repeats",
        page=_SIBLINGS,
    ),
    Row(
        "totalCount, offset (0) and limit (50)",
        f"{_CLIENT}_fetch_list",
        f"{_TESTS}test_client.py::test_both_forms_of_lists_and_any_page_size_give_the_same_rows",
        page=_SIBLINGS,
    ),
    Row(
        "timezone and timeZone, also as CST",
        "energy_etl.vendors.wiser.wire:PostalAddress.zone",
        f"{_TESTS}test_rows.py::test_site_is_read_with_the_parts_of_its_address",
        page=_SIBLINGS,
    ),
    Row(
        "401: Access Token expired",
        "energy_etl.auth:RenewedTokenAuth.auth_flow",
        f"{_AUTH}test_authorization_code.py::test_token_refused_in_mid_use_is_renewed_once",
        page=_SIBLINGS,
    ),
    Row(
        "problems of RFC 7807",
        "energy_etl.rest.failures:Failures.of_status",
        "energy_etl_tests/sandbox/test_wiser.py::"
        "test_call_without_the_right_is_refused_in_the_vendors_shapes",
        page=_SIBLINGS,
    ),
)

DOCUMENT = Document(
    vendor="wiser",
    title="Wiser Energy Monitoring Cloud API",
    rows=(*_OFFER, *_SIGN_UP, *_CONSENT, *_TOKENS, *_SUPPORT, *_LIKE_SIBLINGS),
    clients=("energy_etl.vendors.wiser.client:WiserClient",),
)
