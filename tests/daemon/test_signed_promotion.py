"""Where a public key is configured, what replaces a model is signed too."""

from pathlib import Path

import pytest

from daemon.choice import Shelf
from inspection.errors import ModelRefused
from tests.daemon.swapping import LEFT, RIGHT, configured, draw_bundle, running
from tests.vision.signer import Signer
from vision.bundle import load_bundle


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer(tmp_path / "signer").make()


async def test_only_a_signed_bundle_takes_the_place_of_another(tmp_path: Path, signer: Signer) -> None:
    left, right = draw_bundle(tmp_path / "left", LEFT), draw_bundle(tmp_path / "right", RIGHT)
    signer.sign(left.path / "bundle.json")
    stranger = Signer(tmp_path / "stranger").make()

    async with running(configured(tmp_path, left.path, public_key=str(signer.public))) as rig:
        with pytest.raises(ModelRefused, match="takes signed bundles only"):
            await rig.ask("promote", right.path)
        stranger.sign(right.path / "bundle.json")
        with pytest.raises(ModelRefused, match=f"signed with the key {stranger.key.name}"):
            await rig.ask("promote", right.path)
        assert (await rig.judged()).model == left.model_id

        signer.sign(right.path / "bundle.json")
        await rig.ask("promote", right.path)
        assert (await rig.judged()).model == right.model_id


def test_a_copy_from_before_the_signature_is_made_again(tmp_path: Path, signer: Signer) -> None:
    shelf, bundle = Shelf(tmp_path / "state"), draw_bundle(tmp_path / "left", LEFT)
    shelf.keep(bundle)
    signer.sign(bundle.path / "bundle.json", "-t", "approved")

    kept = shelf.keep(bundle)

    assert load_bundle(kept.path, signer.key).signed == "approved"
