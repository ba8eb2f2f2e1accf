//! A program beside a session that stays, and answers one question after another: a login
//! may take its time, and signals must not wait for one each.

use data_encoding::HEXLOWER;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Mutex;

use super::beside::{MAX_OUTPUT_BYTES, PROCESSES, failed};
use super::{Beside, Environment};
use crate::random;
use crate::transport::{Process, TransportError};

/// Bytes read at once from an answer.
const READ_BYTES: usize = 4096;

/// Where a program that answers is kept, once one was needed.
#[derive(Debug, Default)]
pub(in crate::transport) struct Standing(Mutex<Option<Answering>>);

#[derive(Debug)]
struct Answering {
    process: Process,
    /// The line that ends an answer.
    end: String,
}

impl Standing {
    /// Asks one question, a line of sh. Whoever gives up before the answer takes the
    /// program away with it: the next question starts another one.
    pub(super) async fn ask(
        &self,
        beside: &dyn Beside,
        question: &str,
    ) -> Result<String, TransportError> {
        let mut place = self.0.lock().await;
        let kept = place.take();
        let mut answering = match kept {
            Some(answering) => answering,
            None => Answering::start(beside).await?,
        };
        let answer = match answering.ask(question).await {
            Some(answer) => answer,
            None => {
                // The one that was kept may have gone with its connection.
                answering = Answering::start(beside).await?;
                let answer = answering.ask(question).await;
                answer.ok_or_else(|| failed(beside, "a script there gives no answer"))?
            }
        };
        *place = Some(answering);
        Ok(answer)
    }

    /// Ends the program.
    pub(in crate::transport) async fn end(&self) {
        // The end of its input is its end.
        drop(self.0.lock().await.take());
    }
}

impl Answering {
    async fn start(beside: &dyn Beside) -> Result<Self, TransportError> {
        let end = HEXLOWER.encode(&random::bytes::<16>()?);
        let script = format!(
            "{PROCESSES}\nwhile IFS= read -r question; do eval \"$question\"; echo; echo {end}; done"
        );
        let process = beside.start(&script, Environment::Clean).await?;
        Ok(Self { process, end })
    }

    async fn ask(&mut self, question: &str) -> Option<String> {
        let stdin = self.process.stdin.as_mut()?;
        let question = format!("{question}\n");
        stdin.write_all(question.as_bytes()).await.ok()?;
        stdin.flush().await.ok()?;
        let end = format!("\n{}\n", self.end).into_bytes();
        let mut answer = Vec::new();
        let mut buffer = [0_u8; READ_BYTES];
        while !answer.ends_with(&end) {
            let read = self.process.stdout.read(&mut buffer).await.ok()?;
            answer.extend_from_slice(buffer.get(..read).filter(|read| !read.is_empty())?);
            if answer.len() as u64 > MAX_OUTPUT_BYTES {
                return None;
            }
        }
        answer.truncate(answer.len().saturating_sub(end.len()));
        Some(String::from_utf8_lossy(&answer).into_owned())
    }
}
