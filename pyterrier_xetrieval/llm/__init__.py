"""Language models to ask, and what they are asked."""
