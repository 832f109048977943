"""Which bundle decides: the one that the configuration names, or one that was promoted since.

The choice outlives the daemon in the state directory: `model.json` says which (it has a copy, for when it is damaged),
`models/` holds copies of what was promoted and of what it replaced, so that nobody who writes into the original folder
changes what is live.
"""

import json
import logging
import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints

from daemon.checks import fitting, golden_gate, public_key, surroundings, thresholds, usable
from daemon.config import Config
from inspection import clock
from inspection.errors import BundleError, ConfigError, ModelRefused
from inspection.files import STATE, make_folder, settle
from inspection.sealed import sealed, unsealed
from inspection.whole import commit_file, sync_folder
from vision.bundle import MANIFEST, SIGNATURE, Bundle, Thresholds, load_bundle
from vision.signature import PublicKey

LOG = logging.getLogger(__name__)

FILE = "model.json"
SHELF = "models"

Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Named(BaseModel):
    """A bundle by its hash. `source` is the folder that somebody named, `at` the moment (UTC seconds), for people."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hash: Hash
    source: Path
    at: float


class Choice(BaseModel):
    """model.json. `configured` is what the configuration named when this was written, `before` where rollback leads."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    v: Literal[1] = 1
    configured: Named
    live: Named
    before: Named | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """What a daemon starts with, and why it is that."""

    bundle: Bundle
    thresholds: Thresholds
    why: str
    choice: Choice


def named(bundle: Bundle, source: Path) -> Named:
    return Named(hash=bundle.hash, source=source, at=clock.utc())


def at_start(config: Config) -> Origin:
    """The bundle to start with: the promoted one, as long as the configuration names what it named back then.

    Raises ConfigError where it cannot be used; nothing else is used in its place.
    """
    surroundings(config)
    kept = Shelf(config.state_dir).choice()
    path = config.model.bundle
    try:
        configured = usable(config, path)
    except BundleError as error:
        if kept is None or kept.configured.source != path or kept.live.hash == kept.configured.hash:
            raise ConfigError(str(error), key="model.bundle") from error
        return _promoted(config, kept, f"; model.bundle cannot be used: {error}")
    if kept is None or kept.live.hash == configured.hash or kept.configured.hash != configured.hash:
        why, before = "the configuration names it", kept.before if kept else None
        if kept is not None and kept.live.hash != configured.hash:
            why += f", since it was changed after {kept.live.source} was promoted"
            before = kept.live
        rules = thresholds(config, configured)
        golden_gate(configured, rules)
        here = named(configured, path)
        return Origin(configured, rules, why, Choice(configured=here, live=here, before=before))
    return _promoted(config, kept, "")


def _promoted(config: Config, kept: Choice, remark: str) -> Origin:
    shelf = Shelf(config.state_dir)
    try:
        bundle = fitting(config, shelf.take(kept.live, public_key(config)))
        golden_gate(bundle, bundle.thresholds)
    except (BundleError, ConfigError) as error:
        raise ConfigError(
            f"the promoted bundle cannot be used: {error}; put it back, or delete {shelf.file} to use model.bundle"
        ) from error
    return Origin(bundle, bundle.thresholds, f"{kept.live.source} was promoted{remark}", kept)


class Shelf:
    """The state directory's part in it. One daemon at a time holds that directory."""

    def __init__(self, state_dir: Path) -> None:
        self.file = state_dir / FILE
        self._copy = state_dir / f"{FILE}.copy"
        self._folder = state_dir / SHELF

    def choice(self) -> Choice | None:
        """What was chosen; None while nothing was. Raises ConfigError where neither of its two files can be read."""
        if not self.file.exists():
            return None  # somebody has deleted it, to use model.bundle
        try:
            kept = _read(self.file)
        except (OSError, ValueError) as error:
            try:
                kept = _read(self._copy)
            except (OSError, ValueError):
                raise ConfigError(
                    f"{self.file} cannot be read: {str(error).splitlines()[0]}; delete it to use model.bundle"
                ) from error
            LOG.error("%s cannot be read, its copy is used: %s", self.file, str(error).splitlines()[0])  # noqa: TRY400
        self._mend(kept)
        return kept

    def choose(self, choice: Choice) -> None:
        """On disk when this returns, whole or not at all. Raises ModelRefused."""
        try:
            commit_file(self.file, _file(choice), modes=STATE)
        except OSError as error:
            raise ModelRefused(f"{self.file}: not written: {error.strerror}") from error
        self._mend(choice)

    def _mend(self, choice: Choice) -> None:
        """Make both files say this. A disk that refuses leaves one of them as it was."""
        for file in (self.file, self._copy):
            with suppress(OSError):
                if not file.is_file() or file.read_bytes() != _file(choice):
                    commit_file(file, _file(choice), modes=STATE)

    def keep(self, bundle: Bundle) -> Bundle:
        """A copy of the bundle, verified. Raises ModelRefused or BundleError."""
        place = self._folder / bundle.model_id
        try:
            held = self._held(place, bundle)
            if held is not None:
                return held
            shutil.rmtree(place, ignore_errors=True)
            make_folder(self._folder, STATE)
            staged = Path(tempfile.mkdtemp(prefix=".", dir=self._folder))
            try:
                if load_bundle(bundle.path).hash != bundle.hash:
                    raise BundleError(f"{bundle.path}: holds another model than {bundle.model_id} by now")
                _copy(bundle.path, staged)
                if load_bundle(staged).hash != bundle.hash:
                    raise BundleError(f"{bundle.path}: changed while it was copied: try again")
                settle(staged, STATE)
                staged.rename(place)
                sync_folder(self._folder)
            finally:
                shutil.rmtree(staged, ignore_errors=True)
        except OSError as error:
            raise ModelRefused(f"{place}: the bundle cannot be kept: {error.strerror}") from error
        return load_bundle(place)

    def take(self, wanted: Named, key: PublicKey | None = None) -> Bundle:
        """What was kept under this name, signed with `key` where one is given. Raises BundleError."""
        bundle = load_bundle(self._folder / wanted.hash[:12], key)
        if bundle.hash != wanted.hash:
            raise BundleError(f"{bundle.path}: holds another model than {wanted.hash[:12]}")
        return bundle

    def forget_others(self, *kept: Named | None) -> None:
        """Delete what is neither live nor where rollback leads: a copy is 45 MB."""
        ids = {named.hash[:12] for named in kept if named is not None}
        for folder in self._folder.glob("*"):
            if folder.name not in ids:
                shutil.rmtree(folder, ignore_errors=True)

    @staticmethod
    def _held(place: Path, wanted: Bundle) -> Bundle | None:
        """The copy that is there, if it will do. One from before it was signed will not."""
        try:
            held = load_bundle(place)
        except BundleError:
            return None
        return held if held.hash == wanted.hash and _signature(place) == _signature(wanted.path) else None


def _read(file: Path) -> Choice:
    """Raises OSError or ValueError."""
    return Choice.model_validate_json(json.dumps(unsealed(file.read_bytes())))


def _file(choice: Choice) -> bytes:
    return sealed(choice.model_dump(mode="json"))


def _signature(bundle: Path) -> bytes:
    file = bundle / SIGNATURE
    return file.read_bytes() if file.is_file() else b""


def _copy(source: Path, to: Path) -> None:
    """The manifest, what stands beside it (a signature, people's documents), and the files that it lists."""
    listed = json.loads((source / MANIFEST).read_bytes())["files"]
    beside = [file.name for file in source.glob(f"{MANIFEST}*")]
    for name in {*listed, *beside}:
        target = to / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with (source / name).open("rb") as read, target.open("wb") as written:
            shutil.copyfileobj(read, written)
            written.flush()
            os.fsync(written.fileno())
