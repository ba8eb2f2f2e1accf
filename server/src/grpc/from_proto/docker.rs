//! Docker targets of sessions.

use execgate_engine::target::{DockerSource, DockerTarget};
use execgate_proto::v1;
use v1::docker_target::Source;

use super::fields;
use crate::grpc::refusal::Refusal;

/// Bytes of a name or reference at most: Docker's own are shorter.
const MAX_NAME_BYTES: usize = 512;

/// The container that a session is to be in.
pub(super) fn target(target: v1::DockerTarget) -> Result<DockerTarget, Refusal> {
    let source = match target.source {
        Some(Source::Container(container)) => {
            let name = required("docker.container.name", container.name)?;
            DockerSource::Container(name)
        }
        Some(Source::Image(image)) => {
            let reference = required("docker.image.reference", image.reference)?;
            DockerSource::Image(reference)
        }
        None => return Err(Refusal::field("docker", "names no container and no image")),
    };
    Ok(DockerTarget {
        source,
        user: named("docker.user", target.user)?,
        profile: named("docker.profile", target.profile)?,
    })
}

fn required(field: &str, name: String) -> Result<String, Refusal> {
    named(field, name)?.ok_or_else(|| Refusal::field(field, "is required"))
}

/// A name of Docker's, or a reference: they become a part of a path in the engine's API.
fn named(field: &str, name: String) -> Result<Option<String>, Refusal> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte);
    let is_path = name.split('/').any(|part| part == "." || part == "..");
    if name.len() > MAX_NAME_BYTES || !name.bytes().all(plain) || is_path {
        let reason = format!("is not 1 to {MAX_NAME_BYTES} of [A-Za-z0-9._:@/-]");
        return Err(Refusal::field(field, reason));
    }
    Ok(fields::given(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_lead_elsewhere_in_the_engines_api() {
        for wrong in ["../images", "a/../b", "a?b=c", "a b", "a%2fb", "a#b"] {
            assert!(named("docker.user", wrong.to_owned()).is_err(), "{wrong}");
        }
        for right in [
            "registry.example:5000/team/image:1.2@sha256:00",
            "web_1",
            "1000:1000",
        ] {
            let named = named("docker.user", right.to_owned());
            assert_eq!(named.ok().flatten().as_deref(), Some(right));
        }
    }
}
