"""The commands, one file each: parse, configure, run, exit code."""
