"""Files that are whole or not there, JSON lines, texts and vectors on disk."""
