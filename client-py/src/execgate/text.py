r"""Text from output bytes that arrive in pieces.

Output is bytes, cut anywhere, also inside a character. Decoding each piece by itself
would destroy such a character; a decoder that remembers does not.
"""

from __future__ import annotations

import codecs


class TextDecoder:
    r"""Turns pieces of UTF-8 into text; what is not UTF-8 becomes U+FFFD.

    >>> decoder = TextDecoder()
    >>> decoder.feed(b"na\xc3"), decoder.feed(b"\xafve"), decoder.finish()
    ('na', 'ïve', '')

    A piece may end inside a character; only when nothing follows is it broken:

    >>> decoder.feed(b"\xe2\x82"), decoder.finish()
    ('', '\ufffd')
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, data: bytes) -> str:
        """The text that is complete with this piece."""
        return self._decoder.decode(data)

    def finish(self) -> str:
        """What is left at the end. The decoder can be used anew after it."""
        rest = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return rest


def decode(data: bytes) -> str:
    r"""All of an output as text.

    >>> decode(b"caf\xc3\xa9 \xff")
    'café \ufffd'
    """
    return data.decode("utf-8", errors="replace")
