"""The only sockets, clock, disk, threads and entropy."""
