"""The sum of what bundle.json says, kept in it: an edit that leaves the sum as it was shows."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

KEY = "content_hash"


def content_hash(manifest: Mapping[str, Any]) -> str:
    """sha256 of everything in `manifest` but the hash itself, whatever the order of keys and the white space.

    Anybody can compute it: it finds an edit by hand and a damaged copy. Only a signature finds an edit by somebody who
    writes the new hash, too.
    """
    told = {key: value for key, value in manifest.items() if key != KEY}
    canonical = json.dumps(told, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def with_content_hash(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """`manifest` with the hash of what it says now."""
    told = json.loads(json.dumps(manifest, allow_nan=False))  # as it will be read: keys are text then, and sort as text
    return {**told, KEY: content_hash(told)}
