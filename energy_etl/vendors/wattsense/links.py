"""The header `Link`, by which Wattsense's lists go on; pure."""


def next_link(header: str) -> str | None:
    """Return the target of `rel="next"` in a Link header (RFC 8288), None when there is none."""
    rest = header
    while "<" in rest:
        target, found, rest = rest.partition("<")[2].partition(">")
        attributes, _, _ = rest.partition("<")
        relations = [
            value.strip().strip('"').lower().split()
            for name, _, value in (part.partition("=") for part in attributes.split(";"))
            if name.strip().lower() == "rel"
        ]
        # The last attribute of a link ends where a comma starts the next one.
        if found and any("next" in [r.rstrip('",') for r in relation] for relation in relations):
            return target.strip()
    return None
