//! How the threads that follow the log are told that there is more of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;

use tokio::sync::oneshot;

use super::error::AuditError;
use super::heads::SignedHead;

/// What a follower is told.
#[derive(Debug)]
pub(super) enum Message {
    /// There is more.
    More,
    /// Say when everything up to this record is in the index, or that it is not.
    UpTo {
        sequence: u64,
        answer: oneshot::Sender<bool>,
    },
    /// Sign what is on stable storage now.
    Sign {
        answer: oneshot::Sender<Result<SignedHead, AuditError>>,
    },
    /// Nothing more will be written: finish.
    Close { answer: oneshot::Sender<()> },
}

/// Wakes a follower, once however often it is asked to.
#[derive(Clone, Debug)]
pub(super) struct Waker {
    inbox: Sender<Message>,
    woken: Arc<AtomicBool>,
}

impl Waker {
    pub(super) fn new(inbox: Sender<Message>) -> Self {
        Self {
            inbox,
            woken: Arc::new(AtomicBool::new(false)),
        }
    }

    /// Says that there is more.
    pub(super) fn wake(&self) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            // A follower that is gone wants nothing.
            let _gone = self.inbox.send(Message::More);
        }
    }

    /// Says something; nothing comes of it where the follower is gone.
    pub(super) fn send(&self, message: Message) {
        let _gone = self.inbox.send(message);
    }

    /// The follower has heard, and looks from here on.
    pub(super) fn heard(&self) {
        self.woken.store(false, Ordering::Release);
    }
}
