//! The names of the methods that there are: spans and metrics say no others, whatever callers
//! ask for.

use std::collections::HashSet;
use std::sync::LazyLock;

use execgate_proto::FILE_DESCRIPTOR_SET;
use prost::Message;
use prost_types::FileDescriptorSet;

/// What the conventions call a method that there is none of.
const OTHER: &str = "_OTHER";

static METHODS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    let sets = [
        FILE_DESCRIPTOR_SET,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ];
    let files = sets.into_iter().flat_map(|set| {
        // They were compiled in; one that is not good has no methods.
        FileDescriptorSet::decode(set).unwrap_or_default().file
    });
    let names = files.flat_map(|file| {
        let package = file.package().to_owned();
        file.service.into_iter().flat_map(move |service| {
            let service_name = format!("{package}.{}", service.name());
            let methods = service.method.into_iter();
            methods
                .map(|method| format!("{service_name}/{}", method.name()))
                .collect::<Vec<_>>()
        })
    });
    // As many as the API has, once for the process.
    names.map(|name| &*name.leak()).collect()
});

/// The method of this name, or the name of all that are none.
pub(super) fn known(name: &str) -> &'static str {
    METHODS.get(name).copied().unwrap_or(OTHER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_that_there_are_have_names() {
        for name in [
            "execgate.v1.ExecService/Exec",
            "execgate.v1.SessionService/CreateSession",
            "grpc.health.v1.Health/Check",
            "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        ] {
            assert_eq!(known(name), name);
        }
        for name in ["", "execgate.v1.ExecService/Nothing", "a/b"] {
            assert_eq!(known(name), OTHER);
        }
    }
}
