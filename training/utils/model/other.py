"""Whatever else transformers loads."""

from .family import Family


class OtherFamily(Family):
    takes_trees = False  # nobody has looked whether its attention takes the mask of a tree
