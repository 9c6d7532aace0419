"""Thin PyTerrier transformers: each checks its columns, stacks its vectors once, calls core once and assigns."""
