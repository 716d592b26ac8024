"""µTP (BEP 29) in trains: codecs, buffers, timers and the connection, as machines."""
