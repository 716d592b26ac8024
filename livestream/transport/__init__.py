"""Connections over UDP: congestion control, QUIC, and the endpoint that they share. No I/O."""
