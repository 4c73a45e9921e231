"""`python -m molequi.cli` does what `molequi` does."""

from molequi.cli.main import main

if __name__ == "__main__":
    main()
