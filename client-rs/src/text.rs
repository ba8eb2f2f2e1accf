//! Text from output bytes that arrive in pieces.
//!
//! Output is bytes, cut anywhere, also inside a character. Decoding each piece by itself
//! would destroy such a character; a decoder that remembers does not.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::str;
use std::task::{Context, Poll, ready};

use futures::{Stream, StreamExt as _};

use crate::error::Error;
use crate::event::{Channel, Event};
use crate::stream::ExecStream;

/// Turns pieces of UTF-8 into text; what is not UTF-8 becomes U+FFFD.
///
/// ```
/// use execgate_client::TextDecoder;
///
/// let mut decoder = TextDecoder::default();
/// assert_eq!(decoder.feed(b"na\xc3"), "na");
/// assert_eq!(decoder.feed(b"\xafve"), "ïve");
/// assert_eq!(decoder.finish(), "");
/// ```
#[derive(Debug, Clone, Default)]
pub struct TextDecoder {
    /// The beginning of a character: at most three bytes.
    begun: Vec<u8>,
}

impl TextDecoder {
    /// The text that is complete with this piece.
    pub fn feed(&mut self, data: &[u8]) -> String {
        let joined;
        let mut rest = if self.begun.is_empty() {
            data
        } else {
            self.begun.extend_from_slice(data);
            joined = std::mem::take(&mut self.begun);
            &joined
        };
        let mut text = String::with_capacity(rest.len());
        while !rest.is_empty() {
            let error = match str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    break;
                }
                Err(error) => error,
            };
            let (valid, after) = rest
                .split_at_checked(error.valid_up_to())
                .unwrap_or((rest, &[]));
            text.push_str(&String::from_utf8_lossy(valid));
            let Some(bad) = error.error_len() else {
                after.clone_into(&mut self.begun);
                break;
            };
            text.push(char::REPLACEMENT_CHARACTER);
            rest = after.get(bad..).unwrap_or_default();
        }
        text
    }

    /// What is left at the end: a character that was begun is broken. The decoder can be
    /// used anew after it.
    pub fn finish(&mut self) -> String {
        let broken = !std::mem::take(&mut self.begun).is_empty();
        String::from(if broken { "\u{fffd}" } else { "" })
    }
}

/// A decoder for each channel.
#[derive(Debug, Default)]
struct Texts {
    decoders: BTreeMap<Channel, TextDecoder>,
}

impl Texts {
    /// The text that is complete with this event.
    fn take(&mut self, event: &Event) -> Option<(Channel, String)> {
        let (channel, text) = match event {
            Event::Output(output) => {
                let decoder = self.decoders.entry(output.channel).or_default();
                (output.channel, decoder.feed(&output.data))
            }
            // What follows does not belong to what was begun.
            Event::Gap(gap) => (gap.channel, self.decoders.get_mut(&gap.channel)?.finish()),
            _ => return None,
        };
        (!text.is_empty()).then_some((channel, text))
    }

    /// What is left at the end.
    fn finish(&mut self) -> VecDeque<(Channel, String)> {
        let rests = self
            .decoders
            .iter_mut()
            .map(|(channel, decoder)| (*channel, decoder.finish()));
        rests.filter(|(_, rest)| !rest.is_empty()).collect()
    }
}

/// The rest of an execution's output as text: [`ExecStream::text`].
#[derive(Debug)]
#[must_use = "a stream does nothing until it is read"]
pub struct TextPieces<'a> {
    events: &'a mut ExecStream,
    texts: Texts,
    rests: Option<VecDeque<(Channel, String)>>,
}

impl<'a> TextPieces<'a> {
    pub(crate) fn new(events: &'a mut ExecStream) -> Self {
        Self {
            events,
            texts: Texts::default(),
            rests: None,
        }
    }
}

impl Stream for TextPieces<'_> {
    type Item = Result<(Channel, String), Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(rests) = &mut this.rests {
                return Poll::Ready(rests.pop_front().map(Ok));
            }
            match ready!(this.events.poll_next_unpin(cx)) {
                Some(Ok(event)) => {
                    if let Some(piece) = this.texts.take(&event) {
                        return Poll::Ready(Some(Ok(piece)));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => this.rests = Some(this.texts.finish()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use execgate_proto::v1::GapReason;

    use super::*;
    use crate::event::{Gap, Output};

    /// Valid text of every length, and everything that is not UTF-8.
    const MIXED: &[u8] =
        b"a\xc3\xa9\xe2\x82\xac\xf0\x9f\xa6\x80 \xff\xc0\x80\xed\xa0\x80\xf4\x90\x80\x80 \xe2\x82x\xf0\x9f\xa6";

    #[test]
    fn any_cut_gives_the_text_of_the_whole() {
        let whole = String::from_utf8_lossy(MIXED);
        for first in 0..=MIXED.len() {
            for second in first..=MIXED.len() {
                let mut decoder = TextDecoder::default();
                let mut text = decoder.feed(&MIXED[..first]);
                text += &decoder.feed(&MIXED[first..second]);
                text += &decoder.feed(&MIXED[second..]);
                text += &decoder.finish();
                assert_eq!(text, whole, "cut at {first} and {second}");
            }
        }
        let mut decoder = TextDecoder::default();
        let mut text: String = MIXED.iter().map(|byte| decoder.feed(&[*byte])).collect();
        text += &decoder.finish();
        assert_eq!(text, whole);
    }

    fn output(channel: Channel, offset: u64, data: &'static [u8]) -> Event {
        Event::Output(Output {
            channel,
            offset,
            data: Bytes::from_static(data),
        })
    }

    #[test]
    fn channels_do_not_mix_and_a_gap_ends_a_character() {
        let mut texts = Texts::default();
        let gap = Event::Gap(Gap {
            channel: Channel::Stdout,
            from_offset: 2,
            to_offset: 5,
            reason: GapReason::Evicted,
        });
        let events = [
            output(Channel::Stdout, 0, b"\xe2\x82"),
            output(Channel::Stderr, 0, b"\xac\xe2"),
            gap,
            output(Channel::Stdout, 5, b"\xac!"),
        ];
        let texts_of: Vec<_> = events
            .iter()
            .filter_map(|event| texts.take(event))
            .collect();
        assert_eq!(
            texts_of,
            [
                (Channel::Stderr, "\u{fffd}".to_owned()),
                (Channel::Stdout, "\u{fffd}".to_owned()),
                (Channel::Stdout, "\u{fffd}!".to_owned()),
            ]
        );
        assert_eq!(texts.finish(), [(Channel::Stderr, "\u{fffd}".to_owned())]);
    }
}
