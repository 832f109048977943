"""minisign signatures (https://jedisct1.github.io/minisign/), verified; `minisign -Sm bundle.json` makes them.

bundle.json holds the sha256 of every other file, so that its signature covers the whole bundle.
"""

import binascii
import hashlib
from base64 import b64decode
from dataclasses import dataclass
from pathlib import Path

from inspection.errors import BundleError

SUFFIX = ".minisig"
KEY_LINE = r"^RW[Q-T][A-Za-z0-9+/]{53}$"
"""What a public key looks like: base64 of 'Ed', the key's id and the key."""

_UNTRUSTED, _TRUSTED = "untrusted comment: ", "trusted comment: "
_LEGACY, _PREHASHED = b"Ed", b"ED"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An Ed25519 key. `id` is 8 bytes that only tell keys apart."""

    id: bytes
    key: bytes

    @property
    def name(self) -> str:
        """The id as minisign prints it: a number in hexadecimal, without zeros before it."""
        return f"{int.from_bytes(self.id, 'little'):X}"


@dataclass(frozen=True, slots=True)
class _Signature:
    algorithm: bytes
    key_id: bytes
    signature: bytes
    comment: str
    of_comment: bytes


def parse_key(text: str, source: str) -> PublicKey:
    """The public key in `text`: its base64 line, alone or as in a .pub file. Raises BundleError naming `source`."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith(_UNTRUSTED)]
    raw = _decoded(lines[0]) if len(lines) == 1 else b""
    if len(raw) != 42 or not raw.startswith(_LEGACY):
        raise BundleError(f"{source}: no minisign public key: it is a line of 56 characters that begins with RW")
    return PublicKey(raw[2:10], raw[10:])


def read_key(file: Path) -> PublicKey:
    """The public key in a .pub file. Raises BundleError."""
    try:
        text = file.read_bytes()[:4096].decode()
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{file}: the public key cannot be read: {error}") from error
    return parse_key(text, str(file))


def verify(content: bytes, signature: bytes, key: PublicKey, source: Path) -> str:
    """The trusted comment of `signature`, the content of a .minisig file, which fits `content` and `key`.

    Both kinds are taken: of the content itself ('Ed'), and of its BLAKE2b-512 ('ED', minisign's default since 0.10).
    Raises BundleError naming `source`, the signature's file.
    """
    found = _parse(signature, source)
    if found.key_id != key.id:
        other = PublicKey(found.key_id, b"").name
        raise BundleError(f"{source}: signed with the key {other}, not with {key.name} of model.public_key")
    signed = content if found.algorithm == _LEGACY else hashlib.blake2b(content).digest()
    if not _fits(key, signed, found.signature):
        raise BundleError(
            f"{source}: does not fit: bundle.json was changed after it was signed, or this signature is another "
            "file's: take the bundle from its source again, or have it signed anew"
        )
    if not _fits(key, found.signature + found.comment.encode(), found.of_comment):
        raise BundleError(f"{source}: its trusted comment was changed: take the bundle from its source again")
    return found.comment


def _parse(raw: bytes, source: Path) -> _Signature:
    try:
        first, signature, trusted, of_comment = raw.decode().rstrip("\r\n").split("\n")
    except ValueError as error:
        raise BundleError(f"{source}: no minisign signature: it has four lines: sign the bundle again") from error
    head, tail = _decoded(signature.strip()), _decoded(of_comment.strip())
    comment = trusted.removesuffix("\r")
    if (
        not first.startswith(_UNTRUSTED)
        or not comment.startswith(_TRUSTED)
        or len(head) != 74
        or head[:2] not in {_LEGACY, _PREHASHED}
        or len(tail) != 64
    ):
        raise BundleError(f"{source}: no minisign signature: sign the bundle again")
    return _Signature(head[:2], head[2:10], head[10:], comment.removeprefix(_TRUSTED), tail)


def _decoded(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _fits(key: PublicKey, message: bytes, signature: bytes) -> bool:
    from nacl.exceptions import BadSignatureError  # noqa: PLC0415 - few bundles are signed
    from nacl.signing import VerifyKey  # noqa: PLC0415

    try:
        VerifyKey(key.key).verify(message, signature)
    except BadSignatureError:
        return False
    return True
