"""What one can look at on the match page."""
