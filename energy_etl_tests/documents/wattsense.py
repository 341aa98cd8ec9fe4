"""Wattsense API Version 2019-04.300: service accounts, keys, roles, and names to come.

It is a release note: the endpoints themselves stand on the vendor's API pages, whose statements
have rows of their own at the end (`page`).
"""

from energy_etl_tests.documents import Document, Row, left_out

_CLIENT = "energy_etl.vendors.wattsense.client:WattsenseClient."
_TESTS = "energy_etl_tests/vendors/wattsense/"
_INVENTORY = f"{_TESTS}test_client.py::test_inventory_lists_boxes_properties_and_values"
_BASIC = (
    "energy_etl_tests/sandbox/test_wattsense.py::"
    "test_basic_is_for_users_and_for_service_accounts_that_have_it_on"
)
_API_PAGES = "docs.wattsense.com/api"

_NEWS = "News of a release, no statement about the API."
_AUDIT = (
    "A later release extracts accounts, keys, roles and privileges and audits who reaches what."
)
_OLD_NAMES = (
    "The API of today has neither accounts nor subscriptions; a later release reads the names of "
    "all three versions into the same columns."
)
_UNITS = "A later release; the API of today has device groups in place of organization units."

_RELEASE = (
    *left_out(
        _NEWS,
        "Our last update dates from the beginning of July.",
        "The Wattsense new API version will be live Wednesday 18, September 2019.",
        "The next release is out, learn more about the Wattsense API Version 2019-04.400 here.",
    ),
)

_SERVICE_ACCOUNTS = (
    Row(
        "A service account is a special kind of user meant to represent a non-human user",
        "energy_etl.vendors.wattsense.settings:WattsenseSettings.api_key",
        f"{_TESTS}test_client.py::test_wrong_secret_is_told_once_without_it",
    ),
    *left_out(
        _AUDIT,
        "Service accounts do not have account roles.",
        "they will not be able to take any action on users, other service accounts, API Keys, etc.",
    ),
    Row(
        "Service accounts have the right to authenticate on the API using Basic Auth.",
        "energy_etl.sandbox.wattsense:Wattsense._authenticate_basic",
        _BASIC,
    ),
    Row(
        "This is by default set to false.",
        "energy_etl.sandbox.wattsense:Wattsense._authenticate_basic",
        _BASIC,
    ),
    *left_out(
        "This release signs with an API key; a later one offers Basic too, with an example of a "
        "caller.",
        "implement your own webhooks that authenticate using service accounts to talk to our API",
    ),
)

_KEYS_AND_ROLES = (
    *left_out(
        _AUDIT,
        "All API Keys will have to be linked to a user or a service account.",
        "All previous API Keys will be migrated to this form factor",
        "your accounts will have a new service Account per API Key created",
    ),
    Row(
        "The access rights of the API Keys will be managed via the subscription roles",
        "energy_etl.rest.failures:Failures.of_status",
        "energy_etl_tests/rest/test_client.py::test_permanent_status_is_asked_once",
    ),
    *left_out(
        "Keys are made in the vendor's console: nothing is written at Wattsense from here.",
        "Any user can create API Keys for himself.",
        "the user must have the right to create a service account",
        "that user needs an account role allowing him to do just that",
        "The user console will provide an easy way to manage all of these new features.",
    ),
    *left_out(
        _AUDIT,
        "users will have roles within the company’s account",
        "Each role will contain a list of privileges the user has",
    ),
)

_FUTURE = (
    *left_out(_NEWS, "The future releases will contain the following features:"),
    Row(
        "Renaming of “Account” to “Organization”",
        "energy_etl.vendors.wattsense.wire:Organization.organization_id",
        f"{_TESTS}test_rows.py::test_organization_is_read_with_the_one_that_manages_it",
    ),
    *left_out(
        _OLD_NAMES,
        "renaming of “Subscription” to “Organization Unit”",
        "subcriptionId, subscriptionRoles, accountId, accountRoles, will see their name changed",
    ),
    *left_out(
        _UNITS,
        "We will make it possible for users to create new organization units.",
        "set a different Shipping, Billing and contact info per Organization Unit",
    ),
    *left_out(
        "A later release extracts the subscriptions of devices with their state.",
        "The user will be able to suspend the subscription of a box.",
    ),
)

_API = (
    Row(
        "X-API-Auth, X-API-Timestamp",
        "energy_etl.auth:HmacSha512Auth.auth_flow",
        "energy_etl_tests/test_auth.py::test_signature_equals_the_published_vector",
        page=_API_PAGES,
    ),
    Row("GET /v1/user", f"{_CLIENT}fetch_user", _INVENTORY, page=_API_PAGES),
    Row(
        "GET /v1/organizations",
        f"{_CLIENT}fetch_organizations",
        _INVENTORY,
        page=_API_PAGES,
    ),
    Row("GET /v1/devices", f"{_CLIENT}fetch_devices", _INVENTORY, page=_API_PAGES),
    Row(
        "GET /v1/devices/{deviceId}/properties",
        f"{_CLIENT}fetch_properties",
        f"{_TESTS}test_rows.py::test_latest_value_is_read_with_its_instant",
        page=_API_PAGES,
    ),
    Row(
        "GET /v1/devices/{deviceId}/properties?property=&since=",
        f"{_CLIENT}fetch_history",
        f"{_TESTS}test_client.py::test_paged_history_equals_one_page",
        page=_API_PAGES,
    ),
    Row(
        "GET /v1/devices/{deviceId}/configs/current/properties",
        f"{_CLIENT}fetch_property_configs",
        _INVENTORY,
        page=_API_PAGES,
    ),
    Row(
        "2500 requests in 5 minutes, 100 of them on configurations",
        "energy_etl.vendors.wattsense.settings:WattsenseSettings.configuration_calls_per_5_minutes",
        f"{_TESTS}test_client.py::test_configuration_calls_take_a_place_in_their_own_quota_too",
        page=_API_PAGES,
    ),
)

DOCUMENT = Document(
    vendor="wattsense",
    title="Wattsense API Version 2019-04.300",
    rows=(*_RELEASE, *_SERVICE_ACCOUNTS, *_KEYS_AND_ROLES, *_FUTURE, *_API),
    clients=("energy_etl.vendors.wattsense.client:WattsenseClient",),
)
