"""Data of molecules that have hands."""
