"""What has changed, told to whoever listens: events with ids, kept for those who were away for a moment."""
