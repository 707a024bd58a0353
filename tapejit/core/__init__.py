"""Floor 0: symbolic sizes, dtypes, types, source places and errors. Imports nothing of ours."""
