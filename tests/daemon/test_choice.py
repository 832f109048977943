"""Which bundle a daemon starts with, and what of it survives."""

import shutil
from pathlib import Path

import pytest

from daemon.choice import Choice, Shelf, at_start, named
from daemon.config import Config
from inspection.errors import BundleError, ConfigError
from tests.daemon.swapping import LEFT, RIGHT, configured, draw_bundle
from vision.bundle import Bundle, Thresholds, load_bundle


@pytest.fixture
def first(tmp_path: Path) -> Bundle:
    return draw_bundle(tmp_path / "first", LEFT)


@pytest.fixture
def second(tmp_path: Path) -> Bundle:
    return draw_bundle(tmp_path / "second", RIGHT)


def promoted(config: Config, bundle: Bundle) -> Shelf:
    """The state directory of a daemon in which `bundle` was promoted."""
    shelf = Shelf(config.state_dir)
    configured = load_bundle(config.model.bundle)
    shelf.keep(bundle)
    shelf.keep(configured)
    here = named(configured, config.model.bundle)
    shelf.choose(Choice(configured=here, live=named(bundle, bundle.path), before=here))
    return shelf


def test_without_a_promotion_the_configured_bundle_decides(tmp_path: Path, first: Bundle) -> None:
    origin = at_start(configured(tmp_path, first.path, fail_above=0.7))
    assert (origin.bundle.hash, origin.thresholds) == (first.hash, Thresholds(0.4, 0.7))
    assert origin.why == "the configuration names it"


def test_a_promoted_bundle_decides_by_its_own_thresholds(tmp_path: Path, first: Bundle, second: Bundle) -> None:
    config = configured(tmp_path, first.path, fail_above=0.7)
    promoted(config, second)
    origin = at_start(config)
    assert (origin.bundle.hash, origin.thresholds) == (second.hash, second.thresholds)
    assert "second was promoted" in origin.why


@pytest.mark.parametrize("how", ["another folder", "the same folder"])
def test_a_configuration_that_names_another_model_since_is_the_later_word(
    tmp_path: Path, first: Bundle, second: Bundle, how: str
) -> None:
    config = configured(tmp_path, first.path)
    promoted(config, second)
    third = draw_bundle(tmp_path / "third" if how == "another folder" else first.path, LEFT, note="third")

    origin = at_start(configured(tmp_path, third.path))

    assert origin.bundle.hash == third.hash
    assert "since it was changed after" in origin.why
    assert origin.choice.before is not None
    assert origin.choice.before.hash == second.hash


def test_a_configured_bundle_that_was_deleted_since_is_not_missed(
    tmp_path: Path, first: Bundle, second: Bundle
) -> None:
    config = configured(tmp_path, first.path)
    promoted(config, second)
    shutil.rmtree(first.path)
    assert at_start(config).bundle.hash == second.hash


def test_a_promoted_bundle_that_is_damaged_is_not_replaced_by_another(
    tmp_path: Path, first: Bundle, second: Bundle
) -> None:
    config = configured(tmp_path, first.path)
    shelf = promoted(config, second)
    (config.state_dir / "models" / second.model_id / "bundle.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"the promoted bundle cannot be used: .*delete .*model.json"):
        at_start(config)
    shelf.file.unlink()
    assert at_start(config).bundle.hash == first.hash


@pytest.mark.parametrize("content", ["", "{", '{"v":2}', "null"])
def test_a_choice_that_cannot_be_read_is_no_choice(tmp_path: Path, first: Bundle, content: str) -> None:
    config = configured(tmp_path, first.path)
    config.state_dir.mkdir()
    (config.state_dir / "model.json").write_text(content)
    with pytest.raises(ConfigError, match=r"model.json cannot be read.*delete it"):
        at_start(config)


def test_what_is_kept_is_whole_although_the_original_is_written_over(
    tmp_path: Path, first: Bundle, second: Bundle
) -> None:
    shelf = Shelf(tmp_path / "state")
    kept = shelf.keep(first)
    draw_bundle(first.path, RIGHT)
    assert shelf.take(named(first, first.path)).hash == kept.hash == first.hash
    with pytest.raises(BundleError, match="holds another model"):
        Shelf(tmp_path / "other").keep(first)
    shelf.keep(second)
    shelf.forget_others(named(second, second.path))
    assert [folder.name for folder in (tmp_path / "state" / "models").iterdir()] == [second.model_id]


def test_a_copy_that_was_damaged_is_made_again(tmp_path: Path, first: Bundle) -> None:
    shelf = Shelf(tmp_path / "state")
    (shelf.keep(first).path / "bundle.json").write_text("{}")
    assert shelf.keep(first).hash == first.hash


def test_thresholds_that_misjudge_golden_parts_do_not_start(tmp_path: Path, first: Bundle) -> None:
    with pytest.raises(ConfigError, match=r"model.pass_below.*001-ng.png \(ng, score 0.8000\) would be PASS"):
        at_start(configured(tmp_path, first.path, pass_below=0.9, fail_above=0.95))
    with pytest.raises(ConfigError, match=r"000-ok.png \(ok, score 0.2000\) would be FAIL"):
        at_start(configured(tmp_path, first.path, pass_below=0.1))
