"""Data sets without a download: generated or bundled, one file each."""
