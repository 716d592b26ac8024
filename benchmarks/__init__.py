"""Speed: each prints ours beside a peer in one run and writes JSON."""
