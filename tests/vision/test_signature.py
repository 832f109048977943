"""A bundle is used only where a minisign signature by the configured key fits it. Signed here by minisign itself."""

import asyncio
import base64
import json
import os
import shutil
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from inspection.errors import BundleError
from inspection.probe import Probe
from tests.vision.signer import Signer
from vision.backends.choose import open_backend
from vision.bundle import MANIFEST, SIGNATURE, Bundle, Thresholds, load_bundle
from vision.content import with_content_hash
from vision.signature import PublicKey, parse_key, read_key
from vision.worker import State, Worker
from vision.write import write_bundle


class Restarts(Probe):
    """Why the worker's child ended, each time."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def child_restarted(self, child: str, why: str) -> None:
        self.reasons.append(why)


Until = Callable[[Callable[[], bool]], Awaitable[None]]


@pytest.fixture(scope="session")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return Signer(tmp_path_factory.mktemp("signer") / "plant").make()


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return Signer(tmp_path_factory.mktemp("stranger") / "other").make()


def refusal(bundle: Path, key: PublicKey) -> str:
    with pytest.raises(BundleError) as caught:
        load_bundle(bundle, key)
    told = str(caught.value)
    assert str(bundle / SIGNATURE) in told
    return told


def edit(file: Path, line: int, change: bytes) -> None:
    lines = file.read_bytes().split(b"\n")
    lines[line] = change
    file.write_bytes(b"\n".join(lines))


def flipped(encoded: bytes, at: int, bits: int = 1) -> bytes:
    raw = bytearray(base64.b64decode(encoded))
    raw[at] ^= bits
    return base64.b64encode(raw)


@pytest.mark.parametrize("options", [(), ("-l",)], ids=["prehashed", "legacy"])
def test_a_signed_bundle_is_taken_with_its_trusted_comment(
    copied: Path, drawn: Bundle, signer: Signer, options: tuple[str, ...]
) -> None:
    signer.sign(copied / MANIFEST, "-t", "press 7, approved by Ädä", *options)

    bundle = load_bundle(copied, signer.key)

    assert bundle.hash == drawn.hash
    assert bundle.signed == "press 7, approved by Ädä"


def test_a_signature_does_not_matter_where_no_key_is_configured(copied: Path) -> None:
    (copied / SIGNATURE).write_text("nonsense")

    assert load_bundle(copied).signed == ""


def test_a_bundle_without_a_signature_is_refused(copied: Path, signer: Signer) -> None:
    told = refusal(copied, signer.key)

    assert "not there, and model.public_key takes signed bundles only" in told
    assert "minisign -Sm bundle.json" in told


def test_a_changed_manifest_with_the_right_hash_of_itself_is_refused(copied: Path, signer: Signer) -> None:
    signer.sign(copied / MANIFEST)
    manifest = json.loads((copied / MANIFEST).read_bytes())
    (copied / MANIFEST).unlink()
    (copied / MANIFEST).write_text(json.dumps(with_content_hash({**manifest, "temperature": 1.8})))

    assert load_bundle(copied).temperature == 1.8
    assert "bundle.json was changed after it was signed" in refusal(copied, signer.key)


def test_a_changed_file_of_a_signed_bundle_is_refused_by_its_sum(copied: Path, signer: Signer) -> None:
    signer.sign(copied / MANIFEST)
    file = next((copied / "golden").glob("*.png"))
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content + b"\0")

    with pytest.raises(BundleError, match="its sha256 differs"):
        load_bundle(copied, signer.key)


def test_the_signature_of_another_key_is_refused_with_both_names(
    copied: Path, signer: Signer, stranger: Signer
) -> None:
    stranger.sign(copied / MANIFEST)

    told = refusal(copied, signer.key)

    assert f"signed with the key {stranger.key.name}, not with {signer.key.name}" in told
    assert signer.key.name in signer.public.read_text()


def test_a_key_has_the_name_that_minisign_prints_where_it_begins_with_a_zero() -> None:
    """One key in sixteen; this pair of lines is minisign 0.11's."""
    line = "RWQKBnw2q/nMCbG1frqGA2L/JBxYESp0CTCryywTYBo+1wHIjIQUWbAf"

    key = parse_key(f"untrusted comment: minisign public key 9CCF9AB367C060A\n{line}", "model.public_key")

    assert key.name == "9CCF9AB367C060A"


def test_a_key_that_only_carries_the_right_name_is_refused(copied: Path, signer: Signer, stranger: Signer) -> None:
    stranger.sign(copied / MANIFEST)
    pretender = PublicKey(stranger.key.id, signer.key.key)

    assert "does not fit" in refusal(copied, pretender)


def test_the_signature_of_another_bundle_is_refused(copied: Path, signer: Signer, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")
    shutil.copyfile(signer.sign(tmp_path / "other.json"), copied / SIGNATURE)

    assert "this signature is another file's" in refusal(copied, signer.key)


@pytest.mark.parametrize("options", [(), ("-l",)], ids=["prehashed", "legacy"])
def test_a_signature_does_not_pass_for_the_other_kind(copied: Path, signer: Signer, options: tuple[str, ...]) -> None:
    file = signer.sign(copied / MANIFEST, *options)
    edit(file, 1, flipped(file.read_bytes().split(b"\n")[1], 1, ord("D") ^ ord("d")))

    assert "does not fit" in refusal(copied, signer.key)


def test_a_changed_trusted_comment_is_refused(copied: Path, signer: Signer) -> None:
    file = signer.sign(copied / MANIFEST, "-t", "for trial only")
    edit(file, 2, b"trusted comment: for production")

    assert "its trusted comment was changed" in refusal(copied, signer.key)


@pytest.mark.parametrize("at", [10, 40, 73])
def test_a_changed_signature_is_refused(copied: Path, signer: Signer, at: int) -> None:
    file = signer.sign(copied / MANIFEST)
    edit(file, 1, flipped(file.read_bytes().split(b"\n")[1], at))

    assert "does not fit" in refusal(copied, signer.key)


def test_a_changed_signature_of_the_comment_is_refused(copied: Path, signer: Signer) -> None:
    file = signer.sign(copied / MANIFEST)
    edit(file, 3, flipped(file.read_bytes().split(b"\n")[3], 5))

    assert "its trusted comment was changed" in refusal(copied, signer.key)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"untrusted comment: x\n",
        b"untrusted comment: x\nAAAA\ntrusted comment: y\nAAAA\n",
        b"untrusted comment: x\n\xff\ntrusted comment: y\nAAAA\n",
        b"untrusted comment: x\n" + base64.b64encode(b"XX" + bytes(72)) + b"\ntrusted comment: y\n" + b"A" * 86 + b"==",
        b"\n" * 1000,
        b"x" * (17 << 10),
    ],
    ids=["empty", "short", "small", "bytes", "algorithm", "lines", "huge"],
)
def test_what_is_no_signature_is_refused(copied: Path, signer: Signer, content: bytes) -> None:
    (copied / SIGNATURE).write_bytes(content)

    refusal(copied, signer.key)


def test_a_pipe_in_place_of_the_signature_is_not_waited_for(copied: Path, signer: Signer) -> None:
    os.mkfifo(copied / SIGNATURE)

    assert "not a file" in refusal(copied, signer.key)


def test_the_key_is_the_same_as_a_line_and_as_a_file(signer: Signer) -> None:
    line = signer.public.read_text().splitlines()[1]

    assert parse_key(line, "model.public_key") == signer.key


@pytest.mark.parametrize(
    "text",
    ["", "RWQ", "untrusted comment: only", "RUR" + "A" * 53, "RWQ" + "A" * 52 + "?", "RWQ" + "A" * 53 + "\nRWQ"],
)
def test_what_is_no_public_key_is_named(text: str, tmp_path: Path) -> None:
    file = tmp_path / "key.pub"
    file.write_text(text)

    with pytest.raises(BundleError, match=r"key\.pub: no minisign public key"):
        read_key(file)


def test_a_key_file_that_is_missing_or_no_text_is_named(tmp_path: Path, signer: Signer) -> None:
    with pytest.raises(BundleError, match=r"gone\.pub: the public key cannot be read"):
        read_key(tmp_path / "gone.pub")
    (tmp_path / "binary.pub").write_bytes(b"\xff\xfe")
    with pytest.raises(BundleError, match=r"binary\.pub: the public key cannot be read"):
        read_key(tmp_path / "binary.pub")
    with pytest.raises(BundleError, match="no minisign public key"):
        read_key(signer.folder / "key")


@pytest.mark.parametrize("point", [bytes(32), b"\1" + bytes(31)], ids=["order 4", "identity"])
def test_a_key_under_which_anything_would_be_signed_signs_nothing(copied: Path, signer: Signer, point: bytes) -> None:
    """With a public key of small order, R = identity and s = 0 satisfy the equation for some or all messages."""
    file = signer.sign(copied / MANIFEST)
    forged = b"ED" + signer.key.id + b"\1" + bytes(63)
    edit(file, 1, base64.b64encode(forged))

    assert "does not fit" in refusal(copied, PublicKey(signer.key.id, point))


def test_a_new_bundle_in_the_old_ones_place_does_not_inherit_its_signature(
    copied: Path, drawn: Bundle, signer: Signer
) -> None:
    signer.sign(copied / MANIFEST)
    write_bundle(
        copied, recipe=drawn.recipe, thresholds=Thresholds(0.1, 0.9), temperature=1.0, tensors=drawn.tensors(),
        metrics={}, data_hash="", golden=[], golden_crops=[],
    )  # fmt: skip

    assert "not there" in refusal(copied, signer.key)


async def test_a_worker_scores_with_no_bundle_whose_signature_does_not_fit(
    copied: Path, signer: Signer, stranger: Signer, until: Until
) -> None:
    stranger.sign(copied / MANIFEST)
    heard = Restarts()
    worker = Worker(
        partial(open_backend, copied, choice="onnx-cpu", threads=1, key=signer.key),
        crop_shape=(1, 64, 64), max_batch=2, probe=heard, model=load_bundle(copied).model_id,
    )  # fmt: skip

    running = asyncio.create_task(worker.run())
    await until(lambda: bool(heard.reasons))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert heard.reasons == ["model_invalid"]
    assert worker.state is State.MODEL_INVALID
    assert "signed with the key" in worker.failure


async def test_a_worker_scores_with_a_bundle_that_is_rightly_signed(copied: Path, signer: Signer) -> None:
    signer.sign(copied / MANIFEST)

    backend = open_backend(copied, choice="onnx-cpu", threads=1, key=signer.key)

    assert backend.name.startswith("onnx-cpu")
