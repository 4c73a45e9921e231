"""Property models on tables, ours and chemprop's: the data, and each program's training."""
