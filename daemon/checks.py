"""What a configuration names must be there and readable before a line depends on it."""

from pathlib import Path

from camera.folder import FolderConfig
from daemon import lock
from daemon.config import Config
from inspection.errors import BundleError, ConfigError, refused
from inspection.whole import open_file
from transport.mqtt.config import read_password
from transport.tls import tls_context
from vision.backends.choose import not_installed
from vision.bundle import Bundle, Thresholds, load_bundle
from vision.golden import misjudged, refusal, weakness
from vision.signature import PublicKey, parse_key, read_key


def inspect(config: Config) -> Bundle:
    """Look at everything on disk that `config` names; answers the verified bundle.

    Raises ConfigError naming the key. Nothing is opened on the network and no device is touched.
    """
    try:
        bundle = usable(config, config.model.bundle)
    except BundleError as error:
        raise ConfigError(str(error), key="model.bundle") from error
    golden_gate(bundle, thresholds(config, bundle))
    surroundings(config)
    return bundle


def usable(config: Config, path: Path) -> Bundle:
    """The bundle at `path`, verified to the last file, if the stations of `config` can use it.

    Raises BundleError, and ConfigError for a setting that does not fit it.
    """
    return fitting(config, load_bundle(path, public_key(config)))


def fitting(config: Config, bundle: Bundle) -> Bundle:
    """The same bundle, if it holds a model and the stations of `config` can use it. Raises as `usable` does."""
    # Every file can be as it was written, and hold nothing that can score.
    bundle.tensors()
    bundle.golden_crops()
    for station, settings in config.stations.items():
        crops = bundle.recipe.crop_shape[0] * len(settings.cameras)
        if crops > config.model.max_waiting:
            raise ConfigError(
                f"a part of station {station} gives {crops} crops, more than the "
                f"{config.model.max_waiting} that may wait: every part would be refused; raise it",
                key="model.max_waiting",
            )
    return bundle


def surroundings(config: Config) -> None:
    """That what `config` names beside the model is there. Raises ConfigError or UnavailableError."""
    package = not_installed(config.model.backend)
    if package:
        raise ConfigError(f"{config.model.backend} needs {package}, which is not installed", key="model.backend")
    for station, settings in config.stations.items():
        for camera, kind in settings.cameras.items():
            if isinstance(kind, FolderConfig):
                _readable(kind.path, f"stations.{station}.cameras.{camera}.path", folder=True)
    _readable(config.model.library, "model.library", folder=True)
    _readable(config.mqtt.password_file, "mqtt.password_file")
    if config.mqtt.password_file is not None:
        read_password(config.mqtt.password_file)
    if config.mqtt.tls:
        for key in ("ca", "cert", "key"):
            _readable(getattr(config.mqtt.tls, key), f"mqtt.tls.{key}")
        tls_context(config.mqtt.tls)


def public_key(config: Config) -> PublicKey | None:
    """The key that every bundle has to be signed with; None where none is configured. Raises ConfigError."""
    given = config.model.public_key
    try:
        match given:
            case None:
                return None
            case Path():
                return read_key(given)
            case _:
                return parse_key(given, "the line")
    except BundleError as error:
        raise ConfigError(str(error), key="model.public_key") from error


def thresholds(config: Config, bundle: Bundle) -> Thresholds:
    """The bundle's thresholds, or those that the configuration puts over them. Raises ConfigError."""
    model = config.model
    pass_below = bundle.thresholds.pass_below if model.pass_below is None else model.pass_below
    fail_above = bundle.thresholds.fail_above if model.fail_above is None else model.fail_above
    if pass_below > fail_above:
        raise ConfigError(
            f"model: pass_below {pass_below:g} is above fail_above {fail_above:g} (of the bundle, where the "
            "configuration sets only one); set both"
        )
    return Thresholds(pass_below, fail_above)


def golden_gate(bundle: Bundle, rules: Thresholds) -> None:
    """That the golden parts can gate, and their reference scores give the expected verdicts by these thresholds.

    Raises ConfigError.
    """
    weak = weakness(bundle)
    if weak:
        raise ConfigError(f"{bundle.path}: {weak}")
    wrong = misjudged(bundle, rules)
    if wrong:
        where = bundle.path if rules == bundle.thresholds else "model.pass_below, model.fail_above"
        raise ConfigError(f"{where}: {refusal(wrong, rules)}")


def outdated(bundle: Bundle) -> str:
    """What to do about a bundle of an older linegate, in words for people; empty where nothing is."""
    if bundle.content_hash:
        return ""
    return (
        f"{bundle.path}: written by an older linegate: an edit of its thresholds would go unnoticed; "
        f"linegate upgrade {bundle.path} writes it anew"
    )


def state_dir(config: Config) -> str:
    """Who holds the state directory now; empty where nobody does. Raises what the daemon would at its start."""
    holder = lock.probe(config.state_dir)
    return f"{lock.KEY}: {lock.in_use(config.state_dir, holder)}" if holder else ""


def _readable(path: Path | None, key: str, *, folder: bool = False) -> None:
    """That the file is there and can be read; where `folder`, a folder will do. Never waits for a pipe."""
    if path is None:
        return
    try:
        if folder and path.is_dir():
            next(path.iterdir(), None)
        else:
            open_file(path).close()
    except OSError as error:
        raise refused(f"{path} cannot be read", error, key) from error
