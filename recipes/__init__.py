"""How the bundled model was made and measured; run from the repository's root, no part of the installed package."""
