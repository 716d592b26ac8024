"""Pieces and the seams around them: who verifies, who keeps, who picks. No I/O."""
