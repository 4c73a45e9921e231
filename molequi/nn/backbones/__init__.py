"""From a graph to node features."""
