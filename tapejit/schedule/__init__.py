"""Floor 5: decides how a graph is computed: fusion, tiles, buffers."""
