//! Facts about the API that a machine can check on its descriptors.

use prost::Message as _;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet, SourceCodeInfo,
};

use crate::FILE_DESCRIPTOR_SET;

const PACKAGE: &str = "execgate.v1";

// Field numbers of `descriptor.proto` that make up the paths of source locations.
const FILE_MESSAGE: i32 = 4;
const FILE_ENUM: i32 = 5;
const FILE_SERVICE: i32 = 6;
const MESSAGE_FIELD: i32 = 2;
const MESSAGE_ONEOF: i32 = 8;
const ENUM_VALUE: i32 = 2;
const SERVICE_METHOD: i32 = 2;

fn files() -> Vec<FileDescriptorProto> {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("the descriptor set decodes");
    set.file
        .into_iter()
        .filter(|file| file.package() == PACKAGE)
        .collect()
}

fn messages() -> Vec<DescriptorProto> {
    files()
        .into_iter()
        .flat_map(|file| file.message_type)
        .collect()
}

fn enums() -> Vec<EnumDescriptorProto> {
    files()
        .into_iter()
        .flat_map(|file| file.enum_type)
        .collect()
}

fn has_comment(info: &SourceCodeInfo, path: &[i32]) -> bool {
    info.location
        .iter()
        .any(|location| location.path == path && !location.leading_comments().trim().is_empty())
}

/// Paths, with names for people, of everything in `file` that needs a comment.
fn elements(file: &FileDescriptorProto) -> Vec<(Vec<i32>, String)> {
    let mut found = Vec::new();
    for (i, message) in (0..).zip(&file.message_type) {
        let name = message.name().to_owned();
        for (j, field) in (0..).zip(&message.field) {
            found.push((
                vec![FILE_MESSAGE, i, MESSAGE_FIELD, j],
                format!("{name}.{}", field.name()),
            ));
        }
        for (j, oneof) in (0..)
            .zip(&message.oneof_decl)
            .filter(|(_, o)| !o.name().starts_with('_'))
        {
            found.push((
                vec![FILE_MESSAGE, i, MESSAGE_ONEOF, j],
                format!("{name}.{}", oneof.name()),
            ));
        }
        found.push((vec![FILE_MESSAGE, i], name));
    }
    for (i, enumeration) in (0..).zip(&file.enum_type) {
        for (j, value) in (0..).zip(&enumeration.value) {
            found.push((vec![FILE_ENUM, i, ENUM_VALUE, j], value.name().to_owned()));
        }
        found.push((vec![FILE_ENUM, i], enumeration.name().to_owned()));
    }
    for (i, service) in (0..).zip(&file.service) {
        for (j, method) in (0..).zip(&service.method) {
            found.push((
                vec![FILE_SERVICE, i, SERVICE_METHOD, j],
                method.name().to_owned(),
            ));
        }
        found.push((vec![FILE_SERVICE, i], service.name().to_owned()));
    }
    found
}

#[test]
fn every_service_and_rpc_of_the_design_is_there() {
    let mut services: Vec<(String, Vec<String>)> = files()
        .into_iter()
        .flat_map(|file| file.service)
        .map(|service| {
            let name = service.name().to_owned();
            let methods = service.method.iter().map(|m| m.name().to_owned()).collect();
            (name, methods)
        })
        .collect();
    services.sort();
    let expected = [
        ("AuditService", "ListAuditRecords TailAuditRecords GetAuditHead VerifyAuditLog ExportRecording"),
        (
            "CheckpointService",
            "CreateCheckpoint GetCheckpoint ListCheckpoints DiffCheckpoint RestoreCheckpoint DeleteCheckpoint",
        ),
        (
            "ExecService",
            "Exec Attach Run GetExecution ListExecutions ReadOutput WriteStdin Signal ResizeTerminal EvaluatePolicy",
        ),
        ("SessionService", "CreateSession GetSession ListSessions UpdateSession CloseSession GetCapabilities"),
    ]
    .map(|(name, methods)| {
        let methods = methods.split(' ').map(str::to_owned).collect();
        (name.to_owned(), methods)
    });
    assert_eq!(services, expected);
}

#[test]
fn every_element_has_a_comment() {
    let mut bare = Vec::new();
    for file in files() {
        let info = file.source_code_info.clone().expect("source info is kept");
        for (path, name) in elements(&file) {
            if !has_comment(&info, &path) {
                bare.push(format!("{}: {name}", file.name()));
            }
        }
    }
    assert_eq!(bare, Vec::<String>::new());
}

#[test]
fn every_enum_begins_with_unspecified() {
    for enumeration in enums() {
        let zero = enumeration.value.first().expect("an enum has values");
        assert_eq!(zero.number(), 0, "{}", enumeration.name());
        assert!(zero.name().ends_with("_UNSPECIFIED"), "{}", zero.name());
    }
}

#[test]
fn every_rpc_has_messages_of_its_own() {
    for method in files()
        .iter()
        .flat_map(|f| &f.service)
        .flat_map(|s| &s.method)
    {
        let name = method.name();
        assert_eq!(method.input_type(), format!(".{PACKAGE}.{name}Request"));
        assert_eq!(method.output_type(), format!(".{PACKAGE}.{name}Response"));
    }
}

#[test]
fn no_field_is_a_float_or_an_any() {
    use prost_types::field_descriptor_proto::Type;
    for message in messages() {
        for field in &message.field {
            let name = format!("{}.{}", message.name(), field.name());
            assert!(
                !matches!(field.r#type(), Type::Float | Type::Double),
                "{name}"
            );
            assert!(!field.type_name().ends_with("protobuf.Any"), "{name}");
        }
    }
}

#[test]
fn descriptor_set_carries_its_imports() {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("the descriptor set decodes");
    let names: Vec<&str> = set.file.iter().map(FileDescriptorProto::name).collect();
    for file in &set.file {
        for import in &file.dependency {
            assert!(names.contains(&import.as_str()), "{import}");
        }
    }
}
