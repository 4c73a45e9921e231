"""From node features to named properties."""
