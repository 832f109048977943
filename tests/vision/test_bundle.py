"""A bundle is used whole and unchanged, or not at all; the refusal names the file and the remedy."""

import hashlib
import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load, save

from inspection.errors import BundleError
from inspection.part import Label
from vision.bundle import WEIGHTS, Bundle, Thresholds, load_bundle
from vision.content import with_content_hash
from vision.recipe import Recipe
from vision.weights import Tensors, weights_bytes
from vision.write import write_bundle

DEMO = Path(__file__).parents[2] / "models" / "bsdata"

Manifest = dict[str, Any]


def replace(file: Path, content: bytes) -> None:
    """Its copies share the file: a new one takes its place."""
    file.unlink()
    file.write_bytes(content)


def rewrite(bundle: Path, change: Callable[[Manifest], object]) -> None:
    manifest = json.loads((bundle / "bundle.json").read_text())
    change(manifest)
    replace(bundle / "bundle.json", json.dumps(with_content_hash(manifest)).encode())


def put(bundle: Path, name: str, content: bytes) -> None:
    """Put a file there and list it rightly, as somebody would who makes a bundle by hand."""
    (bundle / name).unlink(missing_ok=True)
    (bundle / name).write_bytes(content)
    facts = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    rewrite(bundle, lambda manifest: manifest["files"].update({name: facts}))


def refusal(bundle: Path) -> str:
    with pytest.raises(BundleError) as caught:
        load_bundle(bundle).tensors()
    return str(caught.value)


def test_a_bundle_is_read_as_it_was_written(drawn: Bundle) -> None:
    again = load_bundle(drawn.path)
    assert again == drawn
    assert (again.arch, again.classes, again.metrics, again.data_hash) == (
        "resnet18",
        ("ok", "ng"),
        {"drawn": True},
        "0" * 64,
    )
    assert again.hash == hashlib.sha256((drawn.path / "bundle.json").read_bytes()).hexdigest()
    assert again.model_id == again.hash[:12]
    assert {part.label for part in again.golden} == {Label.OK, Label.NG}
    assert all(part.path.is_file() for part in again.golden)
    assert again.golden_crops().shape == (len(again.golden), 1, 1, 64, 64)
    tensors = again.tensors()
    assert {array.dtype for array in tensors.values()} == {np.dtype(np.float32)}
    assert weights_bytes(tensors) == (drawn.path / WEIGHTS).read_bytes()


def test_the_golden_crops_are_what_the_recipe_makes_of_the_golden_pictures(drawn: Bundle) -> None:
    made = [drawn.recipe.crops(np.asarray(cv2.imread(str(part.path)), np.uint8)) for part in drawn.golden]
    assert np.array_equal(np.stack(made), drawn.golden_crops())


def test_the_demos_bundle_is_whole() -> None:
    bundle = load_bundle(DEMO)
    assert len(bundle.tensors()) == 102
    assert len(bundle.golden_crops()) == len(bundle.golden) > 0


def test_a_bundle_may_be_reached_through_a_link(drawn: Bundle, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(drawn.path)
    assert load_bundle(tmp_path / "current").hash == drawn.hash


@pytest.mark.parametrize("name", [WEIGHTS, "golden/000-ok.png", "golden/crops.safetensors"])
@pytest.mark.parametrize("where", [0, -1])
def test_one_changed_byte_anywhere_is_noticed(copied: Path, name: str, where: int) -> None:
    file = next(copied.glob(name.replace("000-ok", "000-*")))
    content = bytearray(file.read_bytes())
    content[where] ^= 1
    replace(file, bytes(content))
    told = refusal(copied)
    assert str(file) in told
    assert "restore this file from where the bundle came from, or train again" in told


@pytest.mark.parametrize("change", [lambda raw: raw[:-1], lambda raw: raw + b"\0", lambda raw: b""])
def test_a_file_of_another_length_is_noticed(copied: Path, change: Callable[[bytes], bytes]) -> None:
    file = copied / WEIGHTS
    replace(file, change(file.read_bytes()))
    assert "changed since the bundle was written" in refusal(copied)


@pytest.mark.parametrize("name", ["bundle.json", WEIGHTS, "golden/crops.safetensors"])
def test_a_missing_file_is_named(copied: Path, name: str) -> None:
    (copied / name).unlink()
    told = refusal(copied)
    assert told == f"{copied / name}: No such file or directory: copy the whole bundle folder again"


@pytest.mark.parametrize("name", ["bundle.json", WEIGHTS])
def test_a_pipe_in_place_of_a_file_is_not_waited_for(copied: Path, name: str) -> None:
    (copied / name).unlink()
    os.mkfifo(copied / name)
    assert "not a file: copy the whole bundle folder again" in refusal(copied)


def test_a_folder_in_place_of_a_file_is_refused(copied: Path) -> None:
    (copied / WEIGHTS).unlink()
    (copied / WEIGHTS).mkdir()
    assert "not a file" in refusal(copied)


def test_a_link_out_of_the_bundle_is_refused_though_the_content_is_right(copied: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.safetensors"
    shutil.move(copied / WEIGHTS, outside)
    (copied / WEIGHTS).symlink_to(outside)
    assert "a link that leads elsewhere: put the file itself there" in refusal(copied)


def test_a_linked_folder_in_the_bundle_is_refused(copied: Path, tmp_path: Path) -> None:
    shutil.move(copied / "golden", tmp_path / "golden")
    (copied / "golden").symlink_to(tmp_path / "golden")
    assert "a link that leads elsewhere" in refusal(copied)


@pytest.mark.parametrize(
    "name",
    [
        "../weights.safetensors",
        "/etc/weights.safetensors",
        "golden/../../weights.safetensors",
        "golden//000.png",
        "./weights.safetensors",
        "golden\\000.png",
        "weights.safetensors\0.png",
        "",
    ],
)
def test_a_name_that_could_lead_out_of_the_bundle_is_refused(copied: Path, name: str) -> None:
    rewrite(copied, lambda m: m["files"].update({name: m["files"][WEIGHTS]}))
    assert "is not a plain relative path" in refusal(copied)


@pytest.mark.parametrize(
    "name", ["weights.pt", "weights.pth", "model.pkl", "model.bin", "code.py", "lib.so", "noending"]
)
def test_a_bundle_holds_no_code_and_no_pickle(copied: Path, name: str) -> None:
    rewrite(copied, lambda m: m["files"].update({name: m["files"][WEIGHTS]}))
    assert "a bundle holds only .jpeg, .jpg, .json, .onnx, .png, .safetensors" in refusal(copied)


class Trap:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("sprung",)


def test_a_pickle_under_the_name_of_the_weights_is_not_run(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(copied)
    put(copied, WEIGHTS, pickle.dumps(Trap()))
    assert "not a readable safetensors file" in refusal(copied)
    assert not (copied / "sprung").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(schema=2), "schema: Input should be 1"),
        (lambda m: m.pop("schema"), "schema: Field required"),
        (lambda m: m.update(arch="resnet50"), "arch: Input should be 'resnet18'"),
        (lambda m: m.update(classes=["ng", "ok"]), "classes.0: Input should be 'ok'"),
        (lambda m: m.update(surprise=1), "surprise: Extra inputs are not permitted"),
        (lambda m: m["recipe"].update(enhance="sharpen"), "recipe.enhance: Input should be"),
        (lambda m: m["recipe"].update(resize=32), "recipe: Value error, resize 32 is smaller than size 64"),
        (lambda m: m["recipe"].update(std=[0.2, 0, 0.2]), "std must be above 0"),
        (lambda m: m["thresholds"].update(pass_below=0.6, fail_above=0.5), "pass_below is above fail_above"),
        (lambda m: m["thresholds"].update(pass_below=-0.1), "thresholds.pass_below: Input should be greater"),
        (lambda m: m["thresholds"].update(fail_above=1.1), "thresholds.fail_above: Input should be less"),
        (lambda m: m["thresholds"].pop("fail_above"), "thresholds.fail_above: Field required"),
        (lambda m: m.update(temperature=0), "temperature: Input should be greater than 0"),
        (lambda m: m.update(golden=m["golden"] * 100), "golden: Tuple should have at most 1000 items"),
        (lambda m: m["golden"][0].update(score=2), "golden.0.score: Input should be less"),
        (lambda m: m["golden"][0].update(label="good"), "golden.0.label: Input should be"),
        (lambda m: m["golden"][0].update(file="golden/other.png"), "'golden/other.png' is not among the files"),
        (lambda m: m["golden"][0].update(file=WEIGHTS), "'weights.safetensors' is not among the files"),
        (lambda m: m["files"].pop(WEIGHTS), "weights.safetensors is not among the files"),
        (lambda m: m["files"].pop("golden/crops.safetensors"), "golden/crops.safetensors is not among the files"),
        (lambda m: m["files"][WEIGHTS].update(bytes=300 << 20), "weights.safetensors.bytes: Input should be less"),
        (lambda m: m["files"][WEIGHTS].update(sha256="0" * 63), "sha256: String should match pattern"),
        (lambda m: m["files"].update({f"{n}.png": m["files"][WEIGHTS] for n in range(2000)}), "at most 2000 items"),
    ],
)  # fmt: skip
def test_a_manifest_that_this_version_cannot_trust_is_refused(
    copied: Path, change: Callable[[Manifest], object], message: str
) -> None:
    rewrite(copied, change)
    told = refusal(copied)
    assert told.startswith(f"{copied / 'bundle.json'}: ")
    assert message in told
    assert told.endswith("train the bundle again, or take a copy that this version can read")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'"temperature"', b'"temperature": 1, "temperature"', "the key 'temperature' is there twice"),
        (b'"pass_below"', b'"pass_below": 0.9, "pass_below"', "the key 'pass_below' is there twice"),
        (b'"drawn": true', b'"drawn": NaN', "NaN is no JSON"),
        (b'"drawn": true', b'"drawn": Infinity', "Infinity is no JSON"),
        (b'"temperature": 1.7', b'"temperature": NaN', "temperature: Input should be"),
        (b'"drawn": true', b'"drawn": ' + b"9" * 5000, "number out of range"),
        (b'"drawn": true', b'"drawn": ' + b"[" * 100_000 + b"]" * 100_000, "recursion limit"),
        (b'"drawn"', b'"\xff"', "Invalid JSON"),
        (b"{", b"", "Invalid JSON"),
    ],
)  # fmt: skip
def test_a_manifest_that_is_no_plain_json_is_refused(copied: Path, old: bytes, new: bytes, message: str) -> None:
    raw = (copied / "bundle.json").read_bytes()
    assert old in raw
    replace(copied / "bundle.json", raw.replace(old, new, 1))
    told = refusal(copied)
    assert message in told
    assert "train" in told


def test_a_huge_manifest_is_not_read(copied: Path) -> None:
    rewrite(copied, lambda m: m["metrics"].update(note="x" * (5 << 20)))
    assert "larger than 4 MiB: this is not a bundle of linegate's" in refusal(copied)


def test_a_huge_file_is_not_read(copied: Path) -> None:
    file = next((copied / "golden").glob("*.png"))
    file.unlink()
    with file.open("wb") as handle:
        handle.truncate(33 << 20)
    assert "larger than 32 MiB" in refusal(copied)


def changed(name: str, value: NDArray[np.generic] | None) -> Callable[[Tensors], bytes]:
    def change(tensors: Tensors) -> bytes:
        others = {key: array for key, array in tensors.items() if key != name}
        return save(others if value is None else {**others, name: value})

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed("conv1.weight", None), "the tensor conv1.weight is missing"),
        (changed("fc.weight", np.zeros((3, 512), np.float32)), "fc.weight has the shape [3, 512], expected [2, 512]"),
        (changed("fc.bias", np.zeros(100_000, np.float32)), "fc.bias has the shape [100000], expected [2]"),
        (changed("fc.bias", np.array([0, np.nan], np.float32)), "fc.bias holds values that are not finite"),
        (changed("bn1.weight", np.full(64, np.inf, np.float32)), "bn1.weight holds values that are not finite"),
        (changed("conv1.weight", np.full((64, 3, 7, 7), 1e6, np.float32)), "conv1.weight holds values that are not"),
        (changed("fc.bias", np.zeros(2, np.int64)), "fc.bias holds int64, expected floating point"),
        (changed("bn1.running_var", np.full(64, -1, np.float32)), "bn1.running_var holds negative variances"),
    ],
)
def test_tensors_that_are_no_resnet18_are_refused(
    copied: Path, drawn: Bundle, change: Callable[[Tensors], bytes], message: str
) -> None:
    put(copied, WEIGHTS, change(drawn.tensors()))
    told = refusal(copied)
    assert f"{copied / 'weights.safetensors'}: the tensor" in told
    assert message in told
    assert told.endswith("train again")


def header(facts: Manifest, body: bytes = b"") -> bytes:
    text = json.dumps(facts).encode()
    return struct.pack("<Q", len(text)) + text + body


@pytest.mark.parametrize(
    "content",
    [
        b"\1",
        struct.pack("<Q", 1 << 62) + b"{}",
        header({}, b"surplus"),
        header({"conv1.weight": {"dtype": "F32", "shape": [1 << 40, 1 << 40], "data_offsets": [0, 8]}}, bytes(8)),
        header({"conv1.weight": {"dtype": "F32", "shape": [2], "data_offsets": [0, 1 << 40]}}, bytes(8)),
        header({"conv1.weight": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}, bytes(2)),
        header({"conv1.weight": {"dtype": "F128", "shape": [1], "data_offsets": [0, 8]}}, bytes(8)),
    ],
    ids=["short", "long header", "surplus", "oversized", "offsets", "bf16", "dtype"],
)
def test_a_safetensors_file_that_lies_about_itself_is_refused(copied: Path, content: bytes) -> None:
    put(copied, WEIGHTS, content)
    assert f"{copied / WEIGHTS}: not a readable safetensors file: " in refusal(copied)


def test_weights_that_change_after_the_load_are_not_used(copied: Path) -> None:
    bundle = load_bundle(copied)
    replace(copied / WEIGHTS, (copied / WEIGHTS).read_bytes()[:-1] + b"\0")
    with pytest.raises(BundleError, match="changed since the bundle was loaded"):
        bundle.tensors()


@pytest.mark.parametrize(
    "crops",
    [((12, 1, 1, 32, 32), np.uint8), ((3, 1, 1, 64, 64), np.uint8), ((12, 1, 1, 64, 64), np.float32)],
)
def test_golden_crops_of_another_shape_are_refused(copied: Path, crops: tuple[tuple[int, ...], type]) -> None:
    put(copied, "golden/crops.safetensors", save({"crops": np.zeros(*crops)}))
    with pytest.raises(BundleError, match=r"crops\.safetensors: crops of shape .*: train again"):
        load_bundle(copied).golden_crops()


def test_golden_crops_that_cannot_be_read_are_refused(copied: Path) -> None:
    put(copied, "golden/crops.safetensors", save({"other": np.zeros(1, np.uint8)}))
    with pytest.raises(BundleError, match="no golden crops in it: train again"):
        load_bundle(copied).golden_crops()


def write(path: Path, drawn: Bundle, **changes: Any) -> Bundle:
    facts: dict[str, Any] = {
        "recipe": drawn.recipe,
        "thresholds": drawn.thresholds,
        "temperature": 1.0,
        "tensors": drawn.tensors(),
        "metrics": {},
        "data_hash": "",
        "golden": [(part.path, part.label, part.score) for part in drawn.golden],
        "golden_crops": list(drawn.golden_crops()),
    }
    return write_bundle(path, **{**facts, **changes})


def test_a_bundle_takes_the_place_of_the_old_one_and_keeps_its_documents(copied: Path, drawn: Bundle) -> None:
    (copied / "MODEL_CARD.md").write_text("What this model is for.")
    (copied / "LICENSE").write_text("CC BY-SA 4.0")
    old = load_bundle(copied)
    new = write(copied, drawn, thresholds=Thresholds(0.1, 0.9))
    assert new.hash != old.hash
    assert new.thresholds == Thresholds(0.1, 0.9)
    assert (copied / "MODEL_CARD.md").read_text() == "What this model is for."
    assert (copied / "LICENSE").read_text() == "CC BY-SA 4.0"
    assert [path.name for path in copied.parent.iterdir()] == ["bundle"]


def test_a_bundle_without_golden_parts_can_be_written(drawn: Bundle, tmp_path: Path) -> None:
    bundle = write(tmp_path / "bundle", drawn, golden=[], golden_crops=[])
    assert bundle.golden == ()
    assert bundle.golden_crops().shape == (0, 1, 1, 64, 64)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"thresholds": Thresholds(0.9, 0.1)}, "pass_below is above fail_above"),
        ({"temperature": float("nan")}, "not written"),
        ({"metrics": {"auroc": float("nan")}}, "not written"),
        ({"tensors": {}}, "the tensor conv1.weight is missing"),
        ({"recipe": Recipe()}, r"golden crops \[12, 1, 1, 64, 64\] for 12 parts of \[1, 1, 224, 224\]"),
    ],
)
def test_what_would_not_load_is_not_written_and_the_old_bundle_stays(
    copied: Path, drawn: Bundle, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(BundleError, match=message):
        write(copied, drawn, **changes)
    assert load_bundle(copied).hash == drawn.hash
    assert [path.name for path in copied.parent.iterdir()] == ["bundle"]


def test_a_place_that_cannot_be_written_to_is_told(drawn: Bundle, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BundleError, match=r"not written: .*Not a directory"):
        write(tmp_path / "file" / "bundle", drawn)


def test_equal_weights_give_equal_files(drawn: Bundle) -> None:
    assert weights_bytes(drawn.tensors()) == weights_bytes(dict(reversed(drawn.tensors().items())))
    stored = load((drawn.path / WEIGHTS).read_bytes())
    assert {array.dtype for array in stored.values() if array.ndim == 4} == {np.dtype(np.float16)}
