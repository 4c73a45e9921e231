"""Models of other programs, read exactly."""
