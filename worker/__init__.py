"""The worker pool, and the batch pipeline that trains what it serves."""
