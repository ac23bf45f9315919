"""The batch pipeline: from published results to the artifacts that Touchline serves."""
