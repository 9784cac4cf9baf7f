"""What a check yields."""

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Problem:
    """Something that is wrong with a data set.

    Attributes:
      kind: in a few words; problems of one kind are shown and counted together.
      path: the file that it is about.
      text: one line that names the file, what is wrong and, where that helps, what is allowed.
      is_warning: whether training works with it all the same.
    """

    kind: str
    path: Path
    text: str
    is_warning: bool = False
