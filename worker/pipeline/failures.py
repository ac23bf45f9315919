"""Reasons for which a build stops, each one sentence for the person who started it."""


class BuildStopped(Exception):
    """The build cannot go on; the message says why, and what to do where that is known."""


class TooFewMatches(BuildStopped, ValueError):
    """There is not enough history to train and calibrate a model on."""
