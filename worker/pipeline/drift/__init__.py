"""Whether features and predicted probabilities are still what the champion was trained on."""
