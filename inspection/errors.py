"""What can go wrong, each with its facts as attributes."""

import errno
from dataclasses import dataclass

from inspection.frame import Missed
from inspection.verdict import Reason


class LinegateError(Exception):
    """The root of every error that linegate raises on purpose."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong in a configuration.

    `where` is file:line or the name of a variable, `key` the setting; both are empty where they are not known.
    """

    message: str
    where: str = ""
    key: str = ""

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.key, self.message) if part)


class ConfigError(LinegateError):
    """The configuration is wrong, and only an edit mends it: exit code 78 (EX_CONFIG of sysexits.h).

    `mistakes` has at least one entry; each message names the remedy.
    """

    def __init__(
        self, message: str = "", where: str = "", *, key: str = "", mistakes: tuple[Mistake, ...] = ()
    ) -> None:
        self.mistakes = mistakes or (Mistake(message, where, key),)
        super().__init__("\n".join(map(str, self.mistakes)))


class UnavailableError(LinegateError):
    """The operating system refuses what is needed now, and may grant it later: exit code 75 (EX_TEMPFAIL).

    The unit starts the daemon again. `key` is the setting that names what is needed.
    """

    def __init__(self, message: str, *, key: str = "") -> None:
        super().__init__(f"{key}: {message}" if key else message)
        self.key = key


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


_PASSING = (
    {errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH}
    | {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.ENODEV, errno.ENXIO}
    | {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN, errno.EBUSY, errno.EINTR}
)


def may_pass(error: OSError) -> bool:
    """Whether the operating system may grant later what it refuses now, without an edit of the configuration."""
    return error.errno in _PASSING


def refused(message: str, error: OSError, key: str) -> ConfigError | UnavailableError:
    """The error to raise for what the operating system refuses of the setting `key`."""
    told = f"{message}: {error.strerror}"
    return UnavailableError(told, key=key) if may_pass(error) else ConfigError(told, key=key)
