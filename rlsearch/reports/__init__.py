"""One page of HTML that shows what a run has found. It is read from files alone, and asks nothing of any network."""
