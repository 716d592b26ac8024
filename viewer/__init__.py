"""The app that watches: a node, a playout clock, and what shows the picture."""
