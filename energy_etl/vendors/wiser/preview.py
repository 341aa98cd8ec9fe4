"""What loading past days from Wiser would bring: nothing, and why. Pure."""

from typing import Final

from energy_etl.vendors import PastPreview, PastQuestion

_NOT_GIVEN: Final = (
    "Wiser's API offers metadata only, as of now: locations, sites, rooms, devices; no readings.",
    "What stood there before is known from the first listing on (versions in time).",
)


def preview_past(question: PastQuestion) -> PastPreview:
    """Say that no past day can be loaded."""
    del question
    return PastPreview(not_given=_NOT_GIVEN)
