"""Does a model obey physics? Measured, one row for each law."""
