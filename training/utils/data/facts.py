"""What is known of a record before it is encoded."""

from dataclasses import dataclass, fields


@dataclass
class Facts:
    """Numbers of a record."""

    images: int = 0
    rows: int = 1  # of a batch that it takes: one for each response where a family takes no trees
    longest: int = 0  # tokens of the longest of them, at most
    responses_cut: int = 0  # that end at max_seq_len
    turns_dropped: int = 0  # the oldest ones, so that an answer fits
    special: int = 0  # stretches of a user's words that look like special tokens
    scaled: int = 0  # pictures with more pixels than the processor takes
    aspect: int = -1  # of `Record`


FACTS = tuple(field.name for field in fields(Facts))
