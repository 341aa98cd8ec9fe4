"""What loading past days from Digiwatt would bring: nothing, and why. Pure."""

from typing import Final

from energy_etl.vendors import PastPreview, PastQuestion

_NOT_GIVEN: Final = (
    "Digiwatt's period endpoints (consumption, costs, distribution, performance, disaggregation) "
    "end on the day of the call: what was not fetched on a past day cannot be fetched any more.",
    "Its history endpoints give the last 12 months by month with every fetch, so there is nothing "
    "to load by days; run extract_digiwatt once for them.",
)


def preview_past(question: PastQuestion) -> PastPreview:
    """Say that no past day can be loaded."""
    del question
    return PastPreview(not_given=_NOT_GIVEN)
