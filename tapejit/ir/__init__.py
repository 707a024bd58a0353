"""Floor 1: the tensor IR. Graphs, their text, and what runs them."""
