"""Real processes, sockets, players and browsers."""
