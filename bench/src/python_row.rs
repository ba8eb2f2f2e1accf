//! Contenders in Python, each with what it is to do when its turn comes.

use crate::Result;
use crate::client::Address;
use crate::python::{PythonContender, Streamed};
use crate::race::Contender;

/// What a script is asked for.
#[derive(Debug, Clone, Copy)]
enum Act {
    /// The empty RPC.
    Nothing,
    /// A command to its result, or a stream.
    Command,
    /// A command that is followed to its end.
    Followed,
    /// The floor's memory, in chunks of this size.
    Memory(u64),
}

/// A contender and its act.
#[derive(Debug)]
pub(crate) struct PythonRow {
    script: PythonContender,
    act: Act,
}

impl PythonRow {
    /// Our own client.
    pub(crate) async fn own(address: &Address, session: &str) -> Result<Self> {
        let script = PythonContender::own(address, session).await?;
        Ok(Self::of(script, Act::Command))
    }

    /// The same, following what it runs.
    pub(crate) async fn following(address: &Address, session: &str) -> Result<Self> {
        let script = PythonContender::own(address, session).await?;
        Ok(Self::of(script, Act::Followed))
    }

    /// Our own client with asyncio.
    pub(crate) async fn own_asyncio(address: &Address, session: &str) -> Result<Self> {
        let script = PythonContender::own_asyncio(address, session).await?;
        Ok(Self::of(script, Act::Command))
    }

    /// grpcio and the stubs alone.
    pub(crate) async fn grpcio(address: &Address, session: &str) -> Result<Self> {
        let script = PythonContender::grpcio(address, session).await?;
        Ok(Self::of(script, Act::Command))
    }

    /// The same, for the floor's empty RPC.
    pub(crate) async fn empty(address: &Address, session: &str) -> Result<Self> {
        let script = PythonContender::grpcio(address, session).await?;
        Ok(Self::of(script, Act::Nothing))
    }

    /// Our own client, for the floor's memory in chunks of this size.
    pub(crate) async fn own_memory(address: &Address, session: &str, chunk: u64) -> Result<Self> {
        let script = PythonContender::own(address, session).await?;
        Ok(Self::of(script, Act::Memory(chunk)))
    }

    /// The same through grpcio and the stubs alone.
    pub(crate) async fn memory(address: &Address, session: &str, chunk: u64) -> Result<Self> {
        let script = PythonContender::grpcio(address, session).await?;
        Ok(Self::of(script, Act::Memory(chunk)))
    }

    /// SWE-ReX.
    pub(crate) async fn swe_rex() -> Result<Self> {
        let script = PythonContender::swe_rex().await?;
        Ok(Self::of(script, Act::Command))
    }

    fn of(script: PythonContender, act: Act) -> Self {
        eprintln!("in Python: {}", script.name);
        Self { script, act }
    }

    /// Follows a command; answers the mean size of the chunks that came.
    pub(crate) async fn chunk(&mut self, command: &str) -> Result<u64> {
        let Streamed { bytes, chunks, .. } = self.script.stream(command).await?;
        Ok(bytes / chunks.max(1))
    }
}

#[tonic::async_trait(?Send)]
impl Contender for PythonRow {
    async fn once(&mut self, script: &str) -> Result<()> {
        self.run(script, 1).await.map(|_| ())
    }

    async fn run(&mut self, script: &str, times: usize) -> Result<Vec<f64>> {
        match self.act {
            Act::Nothing => self.script.nothing(times).await,
            Act::Command => self.script.run(script, times).await,
            Act::Followed => self.script.exec(script, times).await,
            Act::Memory(_) => Err("it runs nothing".into()),
        }
    }

    async fn stream(&mut self, script: &str, bytes: u64) -> Result<f64> {
        let streamed = match self.act {
            Act::Nothing => return Err("it does not stream".into()),
            Act::Command | Act::Followed => self.script.stream(script).await?,
            Act::Memory(chunk) => self.script.memory(bytes, chunk).await?,
        };
        match streamed.bytes == bytes {
            true => Ok(streamed.seconds),
            false => Err(format!("{} bytes came", streamed.bytes).into()),
        }
    }
}
