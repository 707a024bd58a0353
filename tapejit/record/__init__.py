"""Floor 3: calls of ops become lines of a graph, with the user's names and places."""
