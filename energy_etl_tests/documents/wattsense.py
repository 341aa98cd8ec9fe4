"""Wattsense API Version 2019-04.300: service accounts, keys, roles, and names to come.

It is a release note: the endpoints themselves stand on the vendor's API pages, whose statements
have rows of their own at the end (`page`).
"""

from energy_etl_tests.documents import Document, Row, left_out, rows_of

_VENDOR = "energy_etl.vendors.wattsense."
_CLIENT = f"{_VENDOR}client:WattsenseClient."
_WIRE = f"{_VENDOR}wire_access:"
_TESTS = "energy_etl_tests/vendors/wattsense/"
_ACCESS = f"{_TESTS}test_access.py::"
_PEOPLE = "energy_etl_tests/sandbox/test_wattsense_people.py::"
_INVENTORY = f"{_TESTS}test_client.py::test_inventory_lists_boxes_properties_and_values"
_REFUSED = f"{_ACCESS}test_service_account_reads_boxes_and_is_refused_where_people_are_listed"
_GENERATIONS = f"{_ACCESS}test_three_generations_of_names_give_the_same_canonical_rows"
_REACH = f"{_ACCESS}test_mart_says_who_reaches_which_organization_by_which_key_and_role"
_TENANTS = f"{_ACCESS}test_organizations_that_manage_others_exist_in_the_newest_version_only"
_API_PAGES = "docs.wattsense.com/api"

_NEWS = "News of a release, no statement about the API."
_CONSOLE = "Done in the vendor's console: nothing is written at Wattsense from here."

_RELEASE = (
    *left_out(
        _NEWS,
        "Our last update dates from the beginning of July.",
        "The Wattsense new API version will be live Wednesday 18, September 2019.",
        "The next release is out, learn more about the Wattsense API Version 2019-04.400 here.",
    ),
    Row(
        "This release will mark a new set of security and authorization features",
        f"{_CLIENT}fetch_access",
        _GENERATIONS,
    ),
)

_SERVICE_ACCOUNTS = (
    Row(
        "A service account is a special kind of user meant to represent a non-human user",
        f"{_CLIENT}fetch_service_accounts",
        _GENERATIONS,
    ),
    Row(
        "Service accounts do not have account roles.",
        "energy_etl.sandbox.wattsense_people:People.caller",
        f"{_PEOPLE}test_caller_is_who_owns_the_credential",
    ),
    Row(
        "they will not be able to take any action on users, other service accounts, API Keys, etc.",
        f"{_CLIENT}fetch_users",
        _REFUSED,
    ),
    Row(
        "Service accounts have the right to authenticate on the API using Basic Auth.",
        f"{_VENDOR}login:login_of",
        f"{_ACCESS}test_basic_that_is_refused_names_the_right_of_service_accounts",
    ),
    Row(
        "This is by default set to false.",
        f"{_WIRE}ServiceAccount.is_basic_allowed",
        "energy_etl_tests/sandbox/test_wattsense.py::"
        "test_basic_is_for_users_and_for_service_accounts_that_have_it_on",
    ),
    Row(
        "implement your own webhooks that authenticate using service accounts to talk to our API",
        "energy_etl.vendors.wattsense.settings:WattsenseSettings.auth",
        f"{_TESTS}test_webhook.py::test_webhook_answers_with_the_latest_values_of_a_box",
    ),
)

_KEYS_AND_ROLES = (
    Row(
        "All API Keys will have to be linked to a user or a service account.",
        f"{_CLIENT}fetch_api_keys",
        f"{_PEOPLE}test_keys_tell_their_owner_and_never_the_secret",
    ),
    *rows_of(
        [
            "All previous API Keys will be migrated to this form factor",
            "your accounts will have a new service Account per API Key created",
        ],
        f"{_VENDOR}access:find",
        f"{_ACCESS}test_key_older_than_its_service_account_is_a_migrated_one_without_a_level",
    ),
    Row(
        "The access rights of the API Keys will be managed via the subscription roles",
        f"{_VENDOR}access:compute_access",
        _REACH,
    ),
    *left_out(
        _CONSOLE,
        "Any user can create API Keys for himself.",
        "The user console will provide an easy way to manage all of these new features.",
    ),
    *rows_of(
        [
            "the user must have the right to create a service account",
            "that user needs an account role allowing him to do just that",
        ],
        f"{_VENDOR}names:manages_service_accounts",
        _REACH,
    ),
    Row(
        "users will have roles within the company’s account",
        f"{_WIRE}User.organization_roles",
        _GENERATIONS,
    ),
    Row(
        "Each role will contain a list of privileges the user has",
        f"{_CLIENT}fetch_roles",
        f"{_TESTS}test_small.py::test_roles_and_privileges_are_read_as_texts_and_as_objects",
    ),
    Row(
        "such as creating or editing service accounts, and creating or inviting new users",
        f"{_VENDOR}names:manages_users",
        f"{_ACCESS}test_privileges_are_told_apart_by_what_they_are_for",
    ),
)

_FUTURE = (
    *left_out(_NEWS, "The future releases will contain the following features:"),
    *rows_of(
        [
            "Renaming of “Account” to “Organization”",
            "renaming of “Subscription” to “Organization Unit”",
            "subcriptionId, subscriptionRoles, accountId, accountRoles, will see their name",
        ],
        f"{_VENDOR}names:ALIASES",
        _GENERATIONS,
    ),
    Row(
        "We will make it possible for users to create new organization units.",
        f"{_CLIENT}fetch_organization_units",
        f"{_ACCESS}test_units_have_shipping_billing_and_contact_and_are_gone_in_the_newest_version",
    ),
    Row(
        "set a different Shipping, Billing and contact info per Organization Unit",
        f"{_WIRE}OrganizationUnit.shipping",
        f"{_ACCESS}test_units_have_shipping_billing_and_contact_and_are_gone_in_the_newest_version",
    ),
    Row(
        "The user will be able to suspend the subscription of a box.",
        f"{_VENDOR}wire:DeviceSubscription.status",
        f"{_TESTS}test_small.py::test_subscription_of_a_box_says_whether_it_is_suspended",
    ),
)

_API = (
    Row(
        "X-API-Auth, X-API-Timestamp",
        "energy_etl.auth:HmacSha512Auth.auth_flow",
        "energy_etl_tests/test_auth.py::test_signature_equals_the_published_vector",
        page=_API_PAGES,
    ),
    Row("GET /v1/user", f"{_CLIENT}fetch_user", _REFUSED, page=_API_PAGES),
    Row("GET /v1/organizations", f"{_CLIENT}fetch_organizations", _TENANTS, page=_API_PAGES),
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
        "GET /v1/devices/{deviceId}/configs",
        f"{_CLIENT}fetch_configs",
        f"{_TESTS}test_small.py::test_equipments_are_those_of_the_current_configuration",
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
    Row(
        "Link: <url>; rel=next",
        f"{_VENDOR}links:next_link",
        f"{_TESTS}test_small.py::test_list_that_goes_on_is_followed_to_its_end",
        page=_API_PAGES,
    ),
    Row(
        "204 with an empty body",
        f"{_VENDOR}pages:read_pages",
        f"{_TESTS}test_client.py::test_window_before_all_data_is_whole_and_empty",
        page=_API_PAGES,
    ),
    Row(
        "Organizations, managed by a parent, in place of organization units",
        f"{_VENDOR}rows_access:UNITS_ARE_GONE",
        _TENANTS,
        page="Release notes 2020-12-16.03",
    ),
)

DOCUMENT = Document(
    vendor="wattsense",
    title="Wattsense API Version 2019-04.300",
    rows=(*_RELEASE, *_SERVICE_ACCOUNTS, *_KEYS_AND_ROLES, *_FUTURE, *_API),
    clients=("energy_etl.vendors.wattsense.client:WattsenseClient",),
)
