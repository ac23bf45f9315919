"""SQL of anybody over a snapshot: in a process of its own for the API, at a prompt for the operator."""
