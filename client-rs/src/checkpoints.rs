//! Checkpoints: a session's files saved, compared and brought back.

use execgate_proto::v1;
use futures::stream::{Stream, StreamExt as _, TryStreamExt as _, once};
use v1::diff_checkpoint_request::Against;
use v1::diff_checkpoint_response::Item;

use crate::client::Client;
use crate::error::Error;
use crate::pages::{Page, pages};
use crate::session::Session;

impl Session {
    /// Saves the files of the session's workspace as they are now. The request's session is
    /// filled in.
    ///
    /// ```no_run
    /// # async fn example(session: execgate_client::Session) -> Result<(), execgate_client::Error> {
    /// let saved = session.checkpoint(Default::default()).await?;
    /// session.run("rm -rf src").await?;
    /// let restored = session.restore_to(saved.checkpoint_id).await?;
    /// // Undo the undo.
    /// session.restore_to(restored.pre_restore_checkpoint_id).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the session is gone or has no workspace, its files cannot be read, or the
    /// connection broke.
    pub async fn checkpoint(
        &self,
        mut request: v1::CreateCheckpointRequest,
    ) -> Result<v1::Checkpoint, Error> {
        self.id().clone_into(&mut request.session_id);
        let response = self.client.ask(request).await?;
        saved(response.checkpoint)
    }

    /// Brings the workspace back to a checkpoint, and saves what was there before.
    ///
    /// # Errors
    /// As of [`Session::restore`].
    pub async fn restore_to(
        &self,
        checkpoint_id: impl Into<String>,
    ) -> Result<v1::RestoreCheckpointResponse, Error> {
        self.restore(v1::RestoreCheckpointRequest {
            checkpoint_id: checkpoint_id.into(),
            ..Default::default()
        })
        .await
    }

    /// The same with all that can be asked of it: some paths, a dry run. The request's
    /// session is filled in.
    ///
    /// # Errors
    /// When there is no such checkpoint of this workspace, commands run in it, its files
    /// cannot be changed, or the connection broke.
    pub async fn restore(
        &self,
        mut request: v1::RestoreCheckpointRequest,
    ) -> Result<v1::RestoreCheckpointResponse, Error> {
        self.id().clone_into(&mut request.session_id);
        // What was there before is saved by the first one only.
        self.client.ask(request).await
    }

    /// What differs between a checkpoint of the workspace and its files as they are now, with
    /// so many bytes of text for each at most.
    pub fn diff(
        &self,
        checkpoint_id: &str,
        max_patch_bytes: u64,
    ) -> impl Stream<Item = Result<v1::FileChange, Error>> + Send + Unpin + use<> {
        let now = v1::AgainstWorkspace {
            session_id: self.id().to_owned(),
        };
        self.client.clone().diff(v1::DiffCheckpointRequest {
            checkpoint_id: checkpoint_id.to_owned(),
            against: Some(Against::Workspace(now)),
            max_patch_bytes,
            ..Default::default()
        })
    }
}

impl Client {
    /// One checkpoint. They outlive their session and the server.
    ///
    /// # Errors
    /// When there is none of this id, or the connection broke.
    pub async fn checkpoint(&self, id: impl Into<String>) -> Result<v1::Checkpoint, Error> {
        let request = v1::GetCheckpointRequest {
            checkpoint_id: id.into(),
        };
        let found = self.ask(request).await?;
        saved(found.checkpoint)
    }

    /// The caller's checkpoints, newest first, as far as the request's filter lets them
    /// through; pages are fetched as they are read.
    pub fn checkpoints(
        &self,
        request: v1::ListCheckpointsRequest,
    ) -> impl Stream<Item = Result<v1::Checkpoint, Error>> + Send + Unpin + use<> {
        let client = self.clone();
        pages(request.page_token.clone(), move |page_token| {
            let (client, mut request) = (client.clone(), request.clone());
            request.page_token = page_token;
            async move {
                let page = client.ask(request).await?;
                Ok(Page::new(page.checkpoints, page.next_page_token))
            }
        })
    }

    /// Forgets a checkpoint, and answers what it was.
    ///
    /// # Errors
    /// When there is none of this id, or the connection broke.
    pub async fn delete_checkpoint(&self, id: impl Into<String>) -> Result<v1::Checkpoint, Error> {
        let request = v1::DeleteCheckpointRequest {
            checkpoint_id: id.into(),
        };
        let deleted = self.ask(request).await?;
        saved(deleted.checkpoint)
    }

    /// What differs, as the request says: between two checkpoints, or one and the files as
    /// they are now.
    pub fn diff(
        &self,
        request: v1::DiffCheckpointRequest,
    ) -> impl Stream<Item = Result<v1::FileChange, Error>> + Send + Unpin + use<> {
        let client = self.clone();
        let opened = async move {
            let answers = client.ask(request).await?;
            Ok::<_, Error>(answers.map_err(move |status| {
                client
                    .call("CheckpointService/DiffCheckpoint")
                    .failed(status)
            }))
        };
        once(opened)
            .try_flatten()
            .try_filter_map(|answer| async move {
                Ok(match answer.item {
                    Some(Item::Change(change)) => Some(change),
                    Some(Item::Summary(_)) | None => None,
                })
            })
            .boxed()
    }
}

fn saved(checkpoint: Option<v1::Checkpoint>) -> Result<v1::Checkpoint, Error> {
    checkpoint.ok_or(Error::Protocol {
        what: "a checkpoint was asked for and not answered",
    })
}
