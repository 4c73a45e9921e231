"""Models: a backbone with its heads, saved and loaded."""
