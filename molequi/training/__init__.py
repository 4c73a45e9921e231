"""Training of models of molecules."""
