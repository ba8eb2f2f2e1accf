"""The soak: what clients do and what breaks, at random, against one server that stays as it was.

`make soak` goes on for twenty minutes, `make soak ARGS='--minutes 3'` for three.
"""

from __future__ import annotations
