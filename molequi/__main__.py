"""`python -m molequi` does what `molequi` does."""

import os
import sys

# `python -m` lets the current folder come first where modules are looked for, the command does not:
# what lies there under the name of a module must not be run.
if sys.path[0] in {"", os.getcwd()}:
    del sys.path[0]

from molequi.cli.main import main

if __name__ == "__main__":
    main()
