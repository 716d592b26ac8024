"""Live video and files that their receivers pass on to each other."""
