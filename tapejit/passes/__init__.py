"""Floor 4: Graph to Graph."""
