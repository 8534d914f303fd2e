"""Networks with a leading population axis, one file each."""
