"""Programs that run in the interpreter of the other program."""
