"""JSON Patch (RFC 6902) with JSON Pointer (RFC 6901), as SmartgridOne's device PATCH takes it.

A patch that is not spelled as the RFC says is a 400; one that does not fit the document (a path
that leads nowhere, a `test` that fails) is a 422, and nothing is changed.
"""

import copy
from typing import Any

from energy_etl.sandbox.smartgridone_answers import RefusedError

_NEEDS = {
    "add": {"path", "value"},
    "remove": {"path"},
    "replace": {"path", "value"},
    "move": {"from", "path"},
    "copy": {"from", "path"},
    "test": {"path", "value"},
}


def touched(patch: object) -> set[str]:
    """Return the top-level keys that a patch may change; a misspelled patch is a 400.

    The empty key stands for the whole document.
    """
    if not isinstance(patch, list):
        raise RefusedError(400)
    keys: set[str] = set()
    for operation in patch:
        if not isinstance(operation, dict):
            raise RefusedError(400)
        name = operation.get("op")
        if not isinstance(name, str) or not _NEEDS.get(name, {None}) <= set(operation):
            raise RefusedError(400)
        if name != "test":
            keys.add((*_pointer(operation["path"]), "")[0])
        if name == "move":
            keys.add((*_pointer(operation["from"]), "")[0])
    return keys


def apply_patch(document: Any, patch: list[dict]) -> Any:
    """Return what a well-spelled patch makes of a document, which itself stays as it is."""
    document = copy.deepcopy(document)
    for operation in patch:
        path = _pointer(operation["path"])
        match operation["op"]:
            case "add":
                document = _add(document, path, copy.deepcopy(operation["value"]))
            case "remove":
                document = _remove(document, path)
            case "replace":
                _get(document, path)
                document = _add(_remove(document, path), path, copy.deepcopy(operation["value"]))
            case "move":
                source = _pointer(operation["from"])
                if path[: len(source)] == source and path != source:
                    raise RefusedError(422, "A value cannot be moved into itself")
                value = _get(document, source)
                document = _add(_remove(document, source), path, value)
            case "copy":
                value = copy.deepcopy(_get(document, _pointer(operation["from"])))
                document = _add(document, path, value)
            case "test":
                if not _is_equal(_get(document, path), operation["value"]):
                    raise RefusedError(422, f"The test of {operation['path']} failed")
    return document


def _pointer(text: object) -> tuple[str, ...]:
    """Return the parts of a JSON Pointer, or 400."""
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise RefusedError(400)
    parts = text.split("/")[1:]
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in parts)


def _index(part: str, length: int) -> int:
    is_spelled_right = part.isascii() and part.isdigit() and (part == "0" or part[0] != "0")
    if not is_spelled_right or int(part) >= length:
        raise RefusedError(422, f"There is no item {part} in a list of {length}")
    return int(part)


def _get(document: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        if isinstance(document, dict) and part in document:
            document = document[part]
        elif isinstance(document, list):
            document = document[_index(part, len(document))]
        else:
            raise RefusedError(422, f"The path /{'/'.join(path)} leads nowhere")
    return document


def _add(document: Any, path: tuple[str, ...], value: Any) -> Any:
    if not path:
        return value
    parent, last = _get(document, path[:-1]), path[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list):
        parent.insert(len(parent) if last == "-" else _index(last, len(parent) + 1), value)
    else:
        raise RefusedError(422, f"The path /{'/'.join(path)} leads nowhere")
    return document


def _remove(document: Any, path: tuple[str, ...]) -> Any:
    _get(document, path)
    if not path:
        return None
    parent, last = _get(document, path[:-1]), path[-1]
    del parent[_index(last, len(parent)) if isinstance(parent, list) else last]
    return document


def _is_equal(left: Any, right: Any) -> bool:
    """Compare as JSON does: 1 equals 1.0, but true does not equal 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_is_equal(left[k], right[k]) for k in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_is_equal, left, right))
    return left == right
