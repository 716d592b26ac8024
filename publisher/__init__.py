"""The app that sends: opens a source, encodes it, cuts and signs pieces, serves the swarm."""
