"""QM9 in every form in which it is published."""
