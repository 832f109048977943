"""What a PLC or another stranger sends, as a JSON object; what is wrong with it is said with the remedy.

PLCs send their text buffers: padded with NULs or spaces, as an S7 STRING with its header, as a WSTRING, or with what an
older and longer message has left behind. Padding at the end is dropped. Nothing else is guessed: two readers could
take it for two different things.
"""

import json
import re
from typing import Any

from inspection.strict import JsonError, read_json

MAX_BYTES = 4096

_PADDING = b"\0 \t\r\n"


class PayloadError(ValueError):
    """No such object. The text is for people, at most 80 characters, and safe to send back."""


def read_object(payload: bytes) -> dict[str, Any]:
    """The fields. Raises PayloadError."""
    if len(payload) > MAX_BYTES:
        raise PayloadError(f"more than {MAX_BYTES} bytes")
    foreign = _foreign(payload)
    if foreign:
        raise PayloadError(foreign)
    text = payload.rstrip(_PADDING)
    if not text:
        raise PayloadError("empty: is the length of the text sent along?")
    if b"\0" in text:
        whole = text.partition(b"\0")[0].rstrip(_PADDING).endswith(b"}")
        raise PayloadError("text after a NUL: send only the text's own length" if whole else "a NUL inside the text")
    try:
        value = read_json(text)
    except JsonError as error:
        raise PayloadError(_remedy(error, text)) from error
    if not isinstance(value, dict):
        raise PayloadError("not a JSON object: it must begin with { and end with }")
    return value


def _foreign(payload: bytes) -> str:
    """Which encoding this is, where it is plainly not the one of JSON."""
    if payload.startswith(b"\xef\xbb\xbf"):
        return "a byte order mark (EF BB BF): send the text without it"
    if payload.startswith((b"\xff\xfe", b"\xfe\xff")) or re.match(rb"\s?\0*\{\0|\0+\s?\0*\{\0", payload):
        return "UTF-16, as of a WSTRING: send a STRING, in UTF-8"
    if payload.lstrip(_PADDING).startswith((b'"{"', b'"{\\')):
        return "quotes around the whole text: send it without them"
    if re.match(rb'["\t\n\r ]\{', payload) and not payload.lstrip(_PADDING).startswith(b"{"):
        return "the bytes are swapped in pairs: swap them before sending"
    if len(payload) > 2 and payload[2:3] == b"{" and payload[0] >= payload[1] and payload[:1] not in b"{ \t\r\n":
        return "the header of an S7 STRING: send from its third byte on"
    if re.match(rb"[^{\s]...(\{\0|\0\{)", payload, re.DOTALL):
        return "the header of an S7 WSTRING: send a STRING, in UTF-8"
    if re.match(rb"[\x00-\x1f\x80-\xff]{1,8}\{", payload) and not payload.lstrip(_PADDING[1:]).startswith(b"{"):
        return "bytes before the {, as of a length: send the text alone"
    return ""


def _remedy(error: JsonError, text: bytes) -> str:
    """What to change in a text that is no JSON; at most 80 characters."""
    if error.why == "not UTF-8":
        return "not UTF-8: umlauts of Latin-1? send them as UTF-8, or leave them out"
    cause = error.__cause__
    if not isinstance(cause, json.JSONDecodeError):
        return error.why
    rest, before = cause.doc[cause.pos :].lstrip(), cause.doc[: cause.pos].rstrip()
    known = (
        (cause.msg.startswith("Extra data"), "more text after the closing }"),
        (cause.msg.startswith("Invalid control character"), "a control character inside a text"),
        (rest.startswith("'"), "single quotes: JSON wants double quotes"),
        (rest.startswith(("}", "]")) and before.endswith(","), "a comma before the closing bracket"),
        (rest.startswith(",") and rest[1:].lstrip().startswith(("}", "]")), "a comma before the closing bracket"),
        (rest[:4].lower() in ("true", "fals", "null"), "true, false and null must be in lower case"),
        (re.search(r"\d,$", before) and rest[:1].isdigit(), "a decimal comma? JSON wants a point"),
        (rest[:1].isalpha() and before.endswith(("{", ",")), "names stand in double quotes"),
        (
            rest.startswith("+") or (before[-1:].isdigit() and re.match(r"[\dx#]", rest)),
            "numbers have no plus sign, base or leading zero",
        ),
        (not text.endswith((b"}", b"]")), "cut off: the text does not end with }"),
    )
    return next((f"not JSON: {remedy}" for holds, remedy in known if holds), "not JSON")
