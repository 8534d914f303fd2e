"""The trainers of our own networks: a population as one torch network, or one member at a time in compiled code."""
