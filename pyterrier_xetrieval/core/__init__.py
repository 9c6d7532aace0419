"""The mathematics: torch and numpy only."""
