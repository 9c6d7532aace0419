"""Files that are there whole or not at all, locks, JSON lines, texts and vectors on disk."""
