//! A client with a session, as one who takes turns.

use std::time::Instant;

use crate::Result;
use crate::client::{Address, Client, Target};
use crate::race::Contender;

/// How a client asks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Call {
    /// The empty RPC.
    Nothing,
    /// One answer at the end.
    Run,
    /// Events as they come.
    Exec,
}

impl Call {
    /// A word for ids of sessions.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Run => "run",
            Self::Exec => "exec",
        }
    }
}

/// A client with a session, as one who takes turns.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    client: Client,
    session: String,
    call: Call,
}

impl Caller {
    /// Connects; the session is there, or a floor's, which makes it.
    pub(crate) async fn connect(address: &Address, session: &str, call: Call) -> Result<Self> {
        Ok(Self {
            client: Client::connect(address).await?,
            session: session.to_owned(),
            call,
        })
    }

    /// Connects and opens the session.
    pub(crate) async fn open(
        address: &Address,
        session: &str,
        target: Option<Target>,
        call: Call,
    ) -> Result<Self> {
        let mut caller = Self::connect(address, session, call).await?;
        caller.client.open_on(session, target).await?;
        Ok(caller)
    }
}

#[tonic::async_trait(?Send)]
impl Contender for Caller {
    async fn once(&mut self, script: &str) -> Result<()> {
        match self.call {
            Call::Nothing => self.client.nothing().await,
            Call::Run => self.client.run(&self.session, script).await,
            Call::Exec => self.client.exec(&self.session, script).await.map(|_| ()),
        }
    }

    async fn stream(&mut self, script: &str, bytes: u64) -> Result<f64> {
        let start = Instant::now();
        match self.client.exec(&self.session, script).await? {
            came if came == bytes => Ok(start.elapsed().as_secs_f64()),
            came => Err(format!("{came} bytes came").into()),
        }
    }
}
