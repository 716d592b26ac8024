"""Whole swarms in virtual time: the nodes of `runtime`, driven without clock or sockets."""
