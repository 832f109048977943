"""JSON that every reader takes alike: what two readers could read as two different things is refused."""

import json
from typing import Any


class JsonError(ValueError):
    """What is no such JSON. `why` tells it in a few words of our own, the text itself with what it was about."""

    def __init__(self, why: str, text: str = "") -> None:
        super().__init__(text or why)
        self.why = why


def read_json(raw: bytes) -> Any:
    """The value. Raises JsonError for what is no UTF-8 or no JSON, a key that is there twice, NaN and infinity."""
    try:
        return json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse)
    except UnicodeDecodeError as error:
        raise JsonError("not UTF-8") from error
    except RecursionError as error:
        raise JsonError("nested too deep") from error
    except JsonError:
        raise
    except ValueError as error:  # also a number of too many digits
        raise JsonError("not JSON", f"not JSON: {error}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise JsonError("a key twice", f"the key {key!r} is there twice")
        found[key] = value
    return found


def _refuse(name: str) -> Any:
    raise JsonError(f"{name} is no JSON number")
