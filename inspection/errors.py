"""What can go wrong, each with its facts as attributes."""

from inspection.frame import Missed
from inspection.verdict import Reason


class LinegateError(Exception):
    """The root of every error that linegate raises on purpose."""


class ConfigError(LinegateError):
    """The configuration is wrong: the process ends with exit code 78 (EX_CONFIG of sysexits.h).

    `where` is file:line where it is known; the message names the key and the remedy.
    """

    def __init__(self, message: str, where: str = "") -> None:
        super().__init__(f"{where}: {message}" if where else message)
        self.where = where


class CameraError(LinegateError):
    """A camera cannot go on: it is closed and opened again."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class PictureError(LinegateError):
    """One picture cannot be used; the camera goes on."""


class BundleError(LinegateError):
    """A model bundle is damaged, unsafe or of another schema; nothing of it was used."""


class DataError(LinegateError):
    """A data set or its manifest cannot be used."""


class BackendError(LinegateError):
    """A backend is not installed, or disagrees with the bundle's golden set."""


class ModelRefused(LinegateError):  # noqa: N818 - the answer to a wish, not a fault of the program
    """A model, or thresholds, do not go live; what was live before goes on."""


class NoImage(LinegateError):  # noqa: N818 - an outcome of looking, not a fault of the program
    """A part got no usable image."""

    def __init__(self, missed: Missed) -> None:
        super().__init__(f"{missed.camera}: {missed.reason} {missed.detail}".rstrip())
        self.missed = missed


class NotScored(LinegateError):  # noqa: N818
    """The classifier gives no score for these crops."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.detail = detail


class StoreError(LinegateError):
    """A record could not be committed."""
