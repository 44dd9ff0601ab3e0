"""One tree of errors. Each class says what the desk does when it is raised.

Every error carries three things for the person who reads it: the cause, what was tried,
and the mend. The command line prints all three and exits with the class's ``exit_code``.
"""

from collections.abc import Sequence


class MbatsError(Exception):
    """The root: the command stops, nothing half-done is kept.

    ``cause`` is one sentence. ``tried`` lists what was looked at, in order. ``mend`` is what
    to do about it: a command to run or a value to set.
    """

    exit_code = 1

    def __init__(self, cause: str, *, tried: Sequence[str] = (), mend: str = "") -> None:
        super().__init__(cause)
        self.cause = cause
        self.tried = tuple(tried)
        self.mend = mend

    def __str__(self) -> str:
        lines = [self.cause]
        if self.tried:
            lines.append("Tried: " + "; ".join(self.tried))
        if self.mend:
            lines.append("Mend: " + self.mend)
        return "\n".join(lines)


class ConfigError(MbatsError):
    """A setting or an argument is missing or wrong: nothing was started."""

    exit_code = 2


class DataError(MbatsError):
    """Input is malformed: the bad part was left out and named, nothing wrong was stored."""

    exit_code = 3


class NotReadyError(MbatsError):
    """A service the command needs does not answer: nothing was changed; mend it and run again."""

    exit_code = 4


class RefusedError(MbatsError):
    """What was asked would destroy or risk something: refused, nothing was changed."""

    exit_code = 5


class RunFailedError(MbatsError):
    """A backtest or a session broke off: its run is marked failed and holds no results."""

    exit_code = 6
