//! SSH without a client program: a connection of russh's, with what execgate asks of one, a
//! shell at the end of a channel that is held, and a channel for each command.

use std::borrow::Cow;
use std::sync::Arc;

use russh::client::{self, Handle, Msg};
use russh::keys::{PrivateKeyWithHashAlg, PublicKey, load_secret_key};
use russh::{Channel, ChannelMsg, Preferred, cipher};

use super::host::Host;
use crate::Result;
use crate::held::{HeldShell, Message, Wire};
use crate::race::Contender;

/// Whoever answers on the port that our own server listens on is that server.
struct Anybody;

impl client::Handler for Anybody {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        _key: &PublicKey,
    ) -> std::result::Result<bool, russh::Error> {
        Ok(true)
    }
}

async fn connect(host: &Host) -> Result<Handle<Anybody>> {
    let config = client::Config {
        nodelay: true,
        preferred: Preferred {
            cipher: Cow::Borrowed(&[cipher::AES_256_GCM]),
            ..Preferred::default()
        },
        ..client::Config::default()
    };
    let at = ("127.0.0.1", host.port);
    let mut handle = client::connect(Arc::new(config), at, Anybody).await?;
    let key = Arc::new(load_secret_key(host.key(), None)?);
    let key = PrivateKeyWithHashAlg::new(key, None);
    match handle.authenticate_publickey(&host.user, key).await? {
        done if done.success() => Ok(handle),
        refused => Err(format!("the login was refused: {refused:?}").into()),
    }
}

/// A channel and its connection.
pub(super) struct Held {
    channel: Channel<Msg>,
    _connection: Handle<Anybody>,
}

/// A bash at the end of a channel.
pub(super) async fn shell(host: &Host) -> Result<HeldShell<Held>> {
    let connection = connect(host).await?;
    let channel = connection.channel_open_session().await?;
    channel.exec(true, "exec bash --noprofile --norc").await?;
    Ok(HeldShell(Held {
        channel,
        _connection: connection,
    }))
}

#[tonic::async_trait(?Send)]
impl Wire for Held {
    async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.channel.data(bytes).await?)
    }

    async fn receive(&mut self) -> Result<Message> {
        match self.channel.wait().await.ok_or("the channel has ended")? {
            ChannelMsg::Data { data } => Ok(Message::stdout(&data)),
            ChannelMsg::ExtendedData { data, .. } => Ok(Message::stderr(&data)),
            _ => Ok(Message::Other),
        }
    }
}

/// A channel for each command, on one connection.
pub(super) struct ChannelPerCommand(Handle<Anybody>);

impl ChannelPerCommand {
    pub(super) async fn connect(host: &Host) -> Result<Self> {
        Ok(Self(connect(host).await?))
    }
}

#[tonic::async_trait(?Send)]
impl Contender for ChannelPerCommand {
    async fn once(&mut self, script: &str) -> Result<()> {
        let mut channel = self.0.channel_open_session().await?;
        channel.exec(true, script).await?;
        let mut code = None;
        while let Some(message) = channel.wait().await {
            if let ChannelMsg::ExitStatus { exit_status } = message {
                code = Some(exit_status);
            }
        }
        match code {
            Some(0) => Ok(()),
            code => Err(format!("the command ended with {code:?}").into()),
        }
    }
}
