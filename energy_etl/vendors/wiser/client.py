"""Wiser's lists: one method each, and the inventory that is made of them.

All calls are GET and idempotent; `AuthorizationCodeAuth` brings the token of the customer's
consent and renews it. Errors are those of `RestClient`: AuthenticationError for a consent that is
missing or has ended, PermissionDeniedError for a scope that is missing, NotFoundError,
RateLimitedError, UnavailableError, MalformedError. What the answers mean is told in `rows.py`.
"""

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from energy_etl.errors import MalformedError
from energy_etl.quota import Quota
from energy_etl.rest import (
    Answer,
    Closing,
    FetchReport,
    Job,
    Progress,
    RawCall,
    RequestLog,
    RestClient,
    build_path,
    fetch_all,
)
from energy_etl.settings import Settings
from energy_etl.vendors.wiser.consent import build_auth
from energy_etl.vendors.wiser.settings import API_PATH, WiserSettings
from energy_etl.vendors.wiser.wire import ListPage, read_page

# Below API_PATH. The document names none; `/sites` is a sibling's, the others are guessed after
# it: modelled, not verified, and they stand only here.
PATHS: Final = {
    "locations": "/locations",
    "sites": "/sites",
    "rooms": "/sites/{site_id}/rooms",
    "devices": "/sites/{site_id}/devices",
}
# What the siblings give when no limit is sent, and take at least.
PAGE_SIZE: Final = 50
QUOTA_WINDOW_S: Final = 60.0


def quota_name(settings: WiserSettings) -> str:
    """Return the name of the stored budget of calls."""
    return f"wiser at {settings.base_url.rstrip('/')}"


class WiserClient(Closing):
    """Wiser's API for one account; safe to share between threads; close it, or use a `with`."""

    def __init__(
        self,
        settings: WiserSettings,
        *,
        log: RequestLog,
        state_path: Path,
        token_folder: Path,
    ) -> None:
        """Prepare; nothing is sent.

        Args:
            settings: the section `wiser`.
            log: where calls are recorded; one log is one fetch.
            state_path: `state.sqlite`, where the quota is kept.
            token_folder: where the token file is kept.

        Raises:
            ConfigurationError: a credential is missing, or the token folder is open to others.
        """
        auth = build_auth(settings, token_folder)
        self._account = settings.account
        self._max_parallel = settings.max_parallel
        quota = Quota(state_path, quota_name(settings), settings.calls_per_minute, QUOTA_WINDOW_S)
        self._rest = RestClient(
            vendor="wiser",
            base_url=settings.base_url.rstrip("/") + API_PATH,
            log=log,
            auth=auth,
            limits=settings.limits,
            quotas=[quota],
            secrets=[settings.client_secret.get_secret_value()],
            credential_hint="a renewed token was refused too: run `energy-etl wiser authorize`, "
            "and see that wiser.scope lets it read",
            max_parallel=settings.max_parallel,
        )

    def close(self) -> None:
        """Close connections and the quota."""
        self._rest.close()

    def fetch_locations(self) -> list[Answer]:
        """GET /locations: the customer's locations, page by page."""
        return self._fetch_list("locations")

    def fetch_sites(self) -> list[Answer]:
        """GET /sites: the sites of all locations, page by page."""
        return self._fetch_list("sites")

    def fetch_rooms(self, site_id: str) -> list[Answer]:
        """GET /sites/{siteId}/rooms, page by page."""
        return self._fetch_list("rooms", site_id=site_id)

    def fetch_devices(self, site_id: str) -> list[Answer]:
        """GET /sites/{siteId}/devices: meters and gateways, page by page."""
        return self._fetch_list("devices", site_id=site_id)

    def fetch_inventory(self, *, progress: Progress | None = None) -> FetchReport:
        """Fetch locations and sites, and of each site rooms and devices.

        Args:
            progress: called with (finished, all).
        """
        found: list[Answer] = []
        report = fetch_all(
            [
                Job("locations", self.fetch_locations),
                Job("sites", lambda: found.extend(self.fetch_sites())),
            ],
            max_parallel=self._max_parallel,
        )
        jobs: list[Job] = []
        for site_id in _site_ids(found):
            group = f"site {site_id}"
            jobs += [
                Job(f"{group}, rooms", lambda site_id=site_id: self.fetch_rooms(site_id), group),
                Job(
                    f"{group}, devices", lambda site_id=site_id: self.fetch_devices(site_id), group
                ),
            ]
        if report.stopped_by is None:
            report.merge(fetch_all(jobs, max_parallel=self._max_parallel, progress=progress))
        return report

    def _fetch_list(self, endpoint: str, **ids: str) -> list[Answer]:
        """GET a list until its `totalCount` is reached or a page is empty.

        The last page's row in the request log says `is_last`: a list without it is not whole. The
        first page is asked for without `offset` and `limit`, which short lists may not know.

        Raises:
            MalformedError: a page that is no list, or one that brings nothing but what came before.
        """
        path = build_path(PATHS[endpoint], **ids)
        params = {"account": self._account, **ids, "window": uuid.uuid4().hex}
        answers: list[Answer] = []
        seen: set[str] = set()
        offset = 0
        while True:
            answer = self._rest.get(
                endpoint,
                path,
                query={"offset": offset, "limit": PAGE_SIZE} if answers else None,
                params={**params, "page": len(answers)},
            )
            answers.append(answer)
            page = _page_of(endpoint, ids, answer)
            is_repeated = bool(page.items) and seen.issuperset(page.keys())
            if is_repeated and page.total is not None:
                raise MalformedError(
                    f"wiser {_named(endpoint, ids)} repeats itself after {len(seen)} of "
                    f"{page.total} items: nothing was taken for vanished, run the fetch again."
                )
            seen.update(page.keys())
            offset += len(page.items)
            # A whole array again: the server knows no pages, so the first one was all of it.
            if is_repeated or not page.items or _is_whole(page, offset):
                break
        self._rest.log.annotate(answers[-1].request_id, is_last=True)
        return answers


def fetch_listing(settings: Settings) -> list[RawCall]:
    """Fetch what a portfolio can be proposed from.

    Raises:
        VendorError: Wiser could not be asked; AuthenticationError: nobody gave consent yet.
    """
    log = RequestLog("wiser")
    client = WiserClient(
        settings.section(WiserSettings),
        log=log,
        state_path=settings.state_path,
        token_folder=settings.token_dir,
    )
    with client:
        report = client.fetch_inventory()
    for error in report.failures.values():
        raise error
    return log.calls()


def _page_of(endpoint: str, ids: dict[str, str], answer: Answer) -> ListPage:
    try:
        return read_page(answer.body)
    except ValueError as error:
        raise MalformedError(
            f"wiser {_named(endpoint, ids)} (request {answer.request_id}) {error}: nothing of that "
            "page was used, run the fetch again."
        ) from None


def _named(endpoint: str, ids: dict[str, str]) -> str:
    return " of ".join([endpoint, *ids.values()])


def _is_whole(page: ListPage, n_items: int) -> bool:
    # A bare array of a full page's length may have been cut there.
    return len(page.items) < PAGE_SIZE if page.total is None else n_items >= page.total


def _site_ids(answers: Sequence[Answer]) -> list[str]:
    """Return the ids in the pages of sites; an item without one is refused in rows.py."""
    items = [item for answer in answers for item in read_page(answer.body).items]
    ids = [str(item["id"]) for item in items if isinstance(item, dict) and item.get("id")]
    return list(dict.fromkeys(ids))
