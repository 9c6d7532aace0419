"""Every question the paper asks of its features, and a few more, as functions that return tidy data frames."""
