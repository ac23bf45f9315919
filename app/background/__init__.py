"""What the API process does beside answering requests."""
