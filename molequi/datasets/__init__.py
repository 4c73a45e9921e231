"""Data in: files, data sets and conversions to the batch type."""
