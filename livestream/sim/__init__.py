"""Virtual time for whole swarms: the same nodes as in `runtime`, driven without clock or sockets."""
