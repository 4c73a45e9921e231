"""The errors that a user can mend. The command line turns each into one line and an exit code."""


class UserError(ValueError):
    """Wrong input or usage. The message is one line: what was got, where, and what would be right.

    Exit code 2.
    """


class NotComputableError(UserError):
    """A structure that a model can compute nothing of, whatever the user allows."""


class UnknownElementError(NotComputableError):
    """A structure holds an element that the model has no weights for."""


class NotFiniteError(UserError):
    """A model gives no number for a geometry, as one far from all that it has seen."""


class RunInterruptedError(RuntimeError):
    """A signal asked a run to stop; what it has is saved, and it can go on from there.

    Exit code 130 for Ctrl-C, 75 otherwise.

    signal_number: which signal.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message, signal_number)
        self.signal_number = signal_number

    def __str__(self) -> str:
        return str(self.args[0])


class NotConvergedError(RuntimeError):
    """A simulation stopped before its goal or was stopped by a physics guard.

    Frames so far are kept. Exit code 3.
    """
