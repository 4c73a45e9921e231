"""The errors that a user can mend. The command line turns each into one line and an exit code."""


class UserError(ValueError):
    """Wrong input or usage. The message is one line: what was got, where, and what would be right. Exit code 2."""


class UnknownElementError(UserError):
    """A structure holds an element that the model has no weights for: nothing can be computed, whatever the user allows."""


class NotConvergedError(RuntimeError):
    """A simulation stopped before its goal or was stopped by a physics guard. Frames so far are kept. Exit code 3."""
