"""Live mode: fills the seams with signatures, a sliding window, deadlines and feeders. No I/O."""
