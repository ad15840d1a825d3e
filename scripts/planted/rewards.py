"""Rewards of the planted runs: an honest one, and some that ask for trouble."""

from training.utils.data.record import Record


def truth(record: Record, responses: list[str]) -> list[float]:
    """Half a point for each of colour and shape."""
    return [sum(0.5 for word in record.label.split() if word in text) for text in responses]


def exclaims(record: Record, responses: list[str]) -> list[float]:
    return [float(text.rstrip().endswith("!")) for text in responses]


def says_something(record: Record, responses: list[str]) -> list[float]:
    return [1.0 for _ in responses]


def long(record: Record, responses: list[str]) -> list[float]:
    return [float(len(text)) for text in responses]


def short(record: Record, responses: list[str]) -> list[float]:
    return [-float(len(text)) for text in responses]


def names_red(record: Record, responses: list[str]) -> list[float]:
    return [float(text.count("red")) for text in responses]
