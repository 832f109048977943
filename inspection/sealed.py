"""JSON files that tell by themselves whether they are still what was written."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from inspection.strict import read_json

_SUM = "sum"


def sealed(content: Mapping[str, Any]) -> bytes:
    """The file of an object, with the sum of all the rest as its last key."""
    return json.dumps({**content, _SUM: _sum(content)}, indent=1, allow_nan=False).encode() + b"\n"


def unsealed(raw: bytes) -> dict[str, Any]:
    """The object of a file of `sealed`, or of one that has no sum. Raises ValueError where it was changed since."""
    content = read_json(raw)
    if not isinstance(content, dict):
        raise ValueError("is no JSON object")  # noqa: TRY004 - the file's fault, not the caller's
    told = content.pop(_SUM, None)
    if told is not None and told != _sum(content):
        raise ValueError(f"its {_SUM} does not fit: it was changed or is damaged")
    return content


def _sum(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
