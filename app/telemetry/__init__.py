"""What the processes tell of themselves: metrics, logs, traces."""
