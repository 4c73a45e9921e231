"""Reference calculations: labels for training."""
