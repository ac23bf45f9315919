"""What can come of a check for drift, and the exit code by which its process tells."""

from enum import StrEnum


class CheckState(StrEnum):
    """What came of a check."""

    DONE = "done"
    NO_DATA = "no_data"
    NOT_INSTALLED = "not_installed"
    OUT_OF_MEMORY = "out_of_memory"
    TIMED_OUT = "timed_out"
    FAILED = "failed"
    BUSY = "busy"

    @property
    def exit_code(self) -> int:
        """0 when done; never 1, which is Python's own for a bug, nor 2, which is a wrong command line."""
        return 0 if self is CheckState.DONE else 10 + list(CheckState).index(self)

    @classmethod
    def of_exit(cls, code: int) -> "CheckState":
        """The state behind an exit code; any that is not ours is a failure."""
        return {state.exit_code: state for state in cls}.get(code, cls.FAILED)
