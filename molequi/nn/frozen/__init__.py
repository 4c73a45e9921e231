"""Inference with fixed weights."""
