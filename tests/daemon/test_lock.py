from pathlib import Path

import pytest

from daemon.lock import held
from inspection.errors import ConfigError


def test_a_second_daemon_on_a_state_directory_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    with held(tmp_path / "state"), pytest.raises(ConfigError, match=r"in use by another linegate \(process \d+\)"):
        held(tmp_path / "state").__enter__()


def test_the_directory_is_free_again_afterwards(tmp_path: Path) -> None:
    with held(tmp_path):
        pass
    with held(tmp_path):
        pass


def test_a_state_directory_that_cannot_be_made_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigError, match="state_dir"):
        held(tmp_path / "file" / "state").__enter__()
