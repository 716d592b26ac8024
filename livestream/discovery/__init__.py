"""Where peers come from: links, trackers, peer exchange. No I/O."""
