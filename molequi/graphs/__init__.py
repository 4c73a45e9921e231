"""The batch type, and the ways to it."""
