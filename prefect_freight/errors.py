"""Every error that prefect-freight raises, grouped by what a handler can do about it.

The tree::

    FreightError
    ├── InputError               fix the input (also a ValueError)
    │   ├── ConfigError          a YAML file or a credential setting
    │   ├── OptionError          an option that no export could have
    │   ├── RefNotFoundError     no such branch, tag or snapshot
    │   ├── NotARepositoryError  nothing that can be exported lies at the source
    │   ├── UnsupportedNodeError an array or group that the target format cannot express
    │   └── DestinationError     the destination is occupied, inside the source, ...
    │       └── OccupiedError    what is not ours lies where the copy is to be
    ├── AccessError              fix the credentials, the bucket or the permissions
    │   └── NoSuchBucketError
    ├── ServerError              start Prefect's server, or correct its address
    ├── NotFoundError            an object that must be there is not
    ├── LockedError              another export is under way; wait until it has ended
    ├── StorageFullError         make room and run the same command again
    ├── TransientError           try again
    │   └── ExhaustedError       tried again already, a few times
    │       ├── UnavailableError the store did not answer for as long as it was waited for
    │       └── EndedError       it was never tried: the export had ended
    ├── IncompleteError          the export stopped; run the same command again
    │   └── UnsoundError         what it relied on is missing: all must be copied again
    ├── IntegrityError           what lies at the destination is not what was written
    └── InternalError            report a bug

Each class has a stable `kind`, which reports and markers carry. Messages tell what was expected,
what was found, where, and the cure, and never hold a secret.
"""

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from prefect_freight.model import ExportReport


def as_sentence(text: str) -> str:
    """Return the text of an error with the full stop that something may follow.

    >>> as_sentence("no answer"), as_sentence("Is it right?")
    ('no answer.', 'Is it right?')
    """
    return text if text.endswith((".", "?")) else f"{text}."


class FreightError(Exception):
    """The base of all errors raised by prefect-freight."""

    kind: ClassVar[str] = "freight"


class InputError(FreightError, ValueError):
    """Something that the caller gave is wrong; the same input will fail again."""

    kind: ClassVar[str] = "input"


class ConfigError(InputError):
    """A configuration file or a credential setting is wrong."""

    kind: ClassVar[str] = "config"


class OptionError(InputError):
    """An option is wrong, or does not go with another one; nothing was tried."""

    kind: ClassVar[str] = "option"


class RefNotFoundError(InputError):
    """The repository has no such branch, tag or snapshot."""

    kind: ClassVar[str] = "ref-not-found"


class NotARepositoryError(InputError):
    """Nothing that can be exported lies at the source's location."""

    kind: ClassVar[str] = "not-a-repository"


class UnsupportedNodeError(InputError):
    """The target format cannot express an array or group of the source."""

    kind: ClassVar[str] = "unsupported-node"


class DestinationError(InputError):
    """The destination may not be written as asked; nothing there was touched."""

    kind: ClassVar[str] = "destination"


class OccupiedError(DestinationError):
    """Objects that are not ours are in the way of the copy; nothing was touched."""

    kind: ClassVar[str] = "occupied"


class AccessError(FreightError):
    """The store refused the credentials or the operation."""

    kind: ClassVar[str] = "access"


class NoSuchBucketError(AccessError):
    """The bucket does not exist."""

    kind: ClassVar[str] = "no-such-bucket"


class ServerError(FreightError):
    """Prefect's server does not answer at its address."""

    kind: ClassVar[str] = "prefect-server"


class NotFoundError(FreightError):
    """An object that must exist does not."""

    kind: ClassVar[str] = "not-found"


class LockedError(FreightError):
    """Another export is under way at the destination."""

    kind: ClassVar[str] = "locked"


class StorageFullError(FreightError):
    """No room is left where the copy is written."""

    kind: ClassVar[str] = "storage-full"


class TransientError(FreightError):
    """The store or the network failed in a way that may be over soon: it may be retried."""

    kind: ClassVar[str] = "transient"


class ExhaustedError(TransientError):
    """It was tried again already, and trying once more at once is in vain; later it may succeed."""


class UnavailableError(ExhaustedError):
    """The store did not answer anybody for as long as it was to be waited for."""

    kind: ClassVar[str] = "unavailable"


class EndedError(ExhaustedError):
    """The export ended before this was asked of the store, which knows nothing of it."""


class IncompleteError(FreightError):
    """Objects could not be moved; what was moved is recorded and is not moved again."""

    kind: ClassVar[str] = "incomplete"

    def __init__(self, message: str, report: "ExportReport | None" = None) -> None:
        super().__init__(message)
        self.report = report
        """The report of the failed export, where it came far enough to have one."""

    # Without this, an error from another process would come without its report: an exception is
    # pickled by its `args`.
    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (*self.args, self.report)


class UnsoundError(IncompleteError):
    """The copy, or a record of it, is not what earlier runs had recorded.

    Its message is what was found; the cure is the same for all of them, and ends the text.
    """

    kind: ClassVar[str] = "unsound"

    @property
    def finding(self) -> str:
        """What was expected and what was found, for who applies the cure already."""
        return str(self.args[0])

    def __str__(self) -> str:
        return f"{self.finding}. Run the export again"


class IntegrityError(FreightError):
    """Bytes or listings differ from those in the manifest."""

    kind: ClassVar[str] = "integrity"


class InternalError(FreightError):
    """A bug of prefect-freight."""

    kind: ClassVar[str] = "internal"
