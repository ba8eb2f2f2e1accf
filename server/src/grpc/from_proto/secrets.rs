//! Secrets in requests: the operator's, which are named, and what a session wants hidden
//! besides.

use std::collections::{BTreeMap, BTreeSet};

use execgate_core::redact::{Alphabet, Secret, TokenRule, is_marker_name};
use execgate_engine::secrets::SecretReference;
use execgate_engine::session::AddedRedaction;
use execgate_proto::v1;

use super::fields::{self, enumeration};
use crate::grpc::refusal::Refusal;

/// What a variable's value begins with that names a secret instead.
const SCHEME: &str = "secret://";
/// References at most, as the API says.
const MAX_REFERENCES: usize = 100;
/// Bytes of a secret's name at most, as the API says.
const MAX_NAME_BYTES: usize = 128;
/// Values to be hidden at most, and their bytes, as the API says.
const MAX_VALUES: usize = 100;
const MIN_VALUE_BYTES: usize = 6;
const MAX_VALUE_BYTES: usize = 16 * 1024;
const MAX_VALUES_BYTES: usize = 64 * 1024;
/// Rules at most, as the API says.
const MAX_RULES: usize = 32;
/// Fewest bytes behind a prefix when nobody says.
const DEFAULT_TOKEN_BYTES: usize = 16;

/// The secrets that are asked for: those of the field, and the variables in `env` whose
/// value is `secret://NAME`, which are taken out of it.
pub(super) fn references(
    field: &str,
    secrets: Vec<v1::SecretReference>,
    env: &mut BTreeMap<String, String>,
) -> Result<Vec<SecretReference>, Refusal> {
    let named = |(variable, value): (&String, &String)| {
        let name = value.strip_prefix(SCHEME)?;
        Some(SecretReference {
            name: name.to_owned(),
            variable: variable.clone(),
        })
    };
    let mut references: Vec<_> = env.iter().filter_map(named).collect();
    env.retain(|_, value| !value.starts_with(SCHEME));
    references.extend(secrets.into_iter().map(|secret| SecretReference {
        variable: match secret.variable.is_empty() {
            true => secret.name.clone(),
            false => secret.variable,
        },
        name: secret.name,
    }));
    if references.len() > MAX_REFERENCES {
        let reason = format!("has {} secrets, at most {MAX_REFERENCES}", references.len());
        return Err(Refusal::field(field, reason));
    }
    let mut variables: BTreeSet<&str> = env.keys().map(String::as_str).collect();
    for (index, reference) in references.iter().enumerate() {
        let entry = format!("{field}[{index}]");
        if !(1..=MAX_NAME_BYTES).contains(&reference.name.len()) {
            return Err(Refusal::field(entry, "has no name of 1 to 128 bytes"));
        }
        if !fields::is_variable_name(&reference.variable) {
            let reason = "names no variable of [A-Za-z_][A-Za-z0-9_]*";
            return Err(Refusal::field(entry, reason));
        }
        if !variables.insert(&reference.variable) {
            return Err(Refusal::field(
                entry,
                "names a variable that is given twice",
            ));
        }
    }
    Ok(references)
}

/// What a session has hidden besides.
pub(super) fn added_redaction(redaction: v1::SessionRedaction) -> Result<AddedRedaction, Refusal> {
    let v1::SessionRedaction { values, rules } = redaction;
    let bytes: usize = values.iter().map(|value| value.value.len()).sum();
    if values.len() > MAX_VALUES || bytes > MAX_VALUES_BYTES {
        let reason = format!("has more than {MAX_VALUES} values or {MAX_VALUES_BYTES} bytes");
        return Err(Refusal::field("redaction.values", reason));
    }
    if rules.len() > MAX_RULES {
        let reason = format!("has {} rules, at most {MAX_RULES}", rules.len());
        return Err(Refusal::field("redaction.rules", reason));
    }
    let values = values.into_iter().enumerate().map(value);
    let rules = rules.into_iter().enumerate().map(rule);
    Ok(AddedRedaction {
        values: values.collect::<Result<_, _>>()?,
        rules: rules.collect::<Result<_, _>>()?,
    })
}

fn value((index, value): (usize, v1::RedactedValue)) -> Result<(String, Secret), Refusal> {
    let field = |name: &str| format!("redaction.values[{index}].{name}");
    if !is_marker_name(&value.name) {
        return Err(Refusal::field(
            field("name"),
            "is not 1 to 64 of [A-Za-z0-9_.-]",
        ));
    }
    let bytes = value.value.len();
    if !(MIN_VALUE_BYTES..=MAX_VALUE_BYTES).contains(&bytes) {
        let reason = format!("has {bytes} bytes, not {MIN_VALUE_BYTES} to {MAX_VALUE_BYTES}");
        return Err(Refusal::field(field("value"), reason));
    }
    Ok((value.name, Secret::new(value.value)))
}

fn rule((index, rule): (usize, v1::RedactionRule)) -> Result<TokenRule, Refusal> {
    let field = format!("redaction.rules[{index}]");
    let alphabet = match enumeration(&format!("{field}.alphabet"), rule.alphabet)? {
        v1::TokenAlphabet::Unspecified | v1::TokenAlphabet::Base64url => Alphabet::Base64Url,
        v1::TokenAlphabet::Alnum => Alphabet::Alnum,
        v1::TokenAlphabet::Base64 => Alphabet::Base64,
        v1::TokenAlphabet::Printable => Alphabet::Printable,
    };
    let min_length = match usize::try_from(rule.min_length) {
        Ok(0) => DEFAULT_TOKEN_BYTES,
        Ok(length) => length,
        Err(_) => usize::MAX / 2,
    };
    let rule = TokenRule {
        name: rule.name,
        prefix: rule.prefix,
        alphabet,
        min_length,
    };
    match rule.problem() {
        None => Ok(rule),
        Some(problem) => Err(Refusal::field(field, format!("is no good: {problem}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    fn reference(name: &str, variable: &str) -> SecretReference {
        SecretReference {
            name: name.to_owned(),
            variable: variable.to_owned(),
        }
    }

    #[test]
    fn secrets_are_named_in_their_field_or_as_a_variables_value() {
        let mut variables = env(&[("A", "1"), ("KEY", "secret://deploy")]);
        let field = vec![v1::SecretReference {
            name: "SIGN".to_owned(),
            variable: String::new(),
        }];
        let found = references("secrets", field, &mut variables).unwrap();
        assert_eq!(
            found,
            [reference("deploy", "KEY"), reference("SIGN", "SIGN")]
        );
        assert_eq!(variables, env(&[("A", "1")]));
    }

    #[test]
    fn a_variable_has_one_value() {
        let field = vec![v1::SecretReference {
            name: "deploy".to_owned(),
            variable: "A".to_owned(),
        }];
        let refused = references("secrets", field, &mut env(&[("A", "1")]));
        assert!(
            matches!(&refused, Err(Refusal::InvalidField { field, .. }) if field == "secrets[0]"),
            "{refused:?}"
        );
    }
}
