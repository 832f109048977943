"""A bundle that is not where it was said to be."""

from pathlib import Path

import pytest

from inspection.errors import BundleError
from vision.bundle import WEIGHTS, load_bundle


def refusal(bundle: Path) -> str:
    with pytest.raises(BundleError) as caught:
        load_bundle(bundle)
    return str(caught.value)


def test_a_folder_that_is_not_there_is_told_with_the_name_that_was_meant(copied: Path) -> None:
    misspelt = copied.with_name(f"no{copied.name}")
    assert refusal(misspelt) == f"{misspelt}: there is no such folder; did you mean {copied}?"
    assert refusal(copied.with_name("quite-another-name")).endswith(
        "there is no such folder; name the folder that `linegate train` wrote"
    )
    assert "is not a folder" in refusal(copied / WEIGHTS)


def test_links_that_lead_in_a_circle_are_refused(copied: Path) -> None:
    (copied / WEIGHTS).unlink()
    (copied / WEIGHTS).symlink_to(WEIGHTS)
    assert "links" in refusal(copied)
