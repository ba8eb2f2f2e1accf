//! `execgate policy`: judges commands by a policy file without a server, for people who
//! write policies. Reads the file, prints, and says the rest by its exit code.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use data_encoding::HEXLOWER;
use execgate_core::policy::{
    Dialect, FoundCommand, Judgement, Knowledge, Policy, PolicyError, Question, Verdict,
};
use serde_json::{Value, json};

use crate::cli::PolicyCommand;

/// Exit code of a command that is denied.
const EXIT_DENIED: u8 = 1;
/// Exit code for a policy that is no good, as clap has for arguments.
const EXIT_BAD: u8 = 2;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum CheckError {
    #[error("read {file}: {source}")]
    Read { file: String, source: io::Error },
    #[error("load {file}: {source}")]
    Policy { file: String, source: PolicyError },
}

/// Does what was asked for.
#[must_use]
pub fn run(command: &PolicyCommand) -> ExitCode {
    let (answer, json) = match command {
        PolicyCommand::Check {
            policy,
            json,
            posix,
            line,
        } => (check(policy, *posix, line, *json), *json),
        PolicyCommand::Test { policy, json } => (test(policy, *json), *json),
    };
    match answer {
        Ok((text, code)) => {
            // Whoever does not read it has the exit code.
            let _unread = io::stdout().write_all(text.as_bytes());
            ExitCode::from(code)
        }
        Err(error) => {
            let line = match &error {
                CheckError::Policy { source, .. } => source.line(),
                CheckError::Read { .. } => None,
            };
            if json {
                println!("{}", json!({"error": error.to_string(), "line": line}));
            }
            eprintln!("execgate: failed to {error}");
            ExitCode::from(EXIT_BAD)
        }
    }
}

/// A policy from a file, or one that ships where there is no such file.
fn load(path: &Path) -> Result<Policy, CheckError> {
    let file = path.display().to_string();
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(source) => {
            return match (source.kind(), file.as_str()) {
                (io::ErrorKind::NotFound, "guard") => Ok(Policy::guard()),
                (io::ErrorKind::NotFound, "strict") => Ok(Policy::strict()),
                (io::ErrorKind::NotFound, "open") => Ok(Policy::open()),
                _ => Err(CheckError::Read { file, source }),
            };
        }
    };
    Policy::from_toml(&text).map_err(|source| CheckError::Policy { file, source })
}

fn check(
    path: &Path,
    posix: bool,
    line: &[String],
    json: bool,
) -> Result<(String, u8), CheckError> {
    let policy = load(path)?;
    let dialect = match posix {
        true => Dialect::Posix,
        false => Dialect::Bash,
    };
    let judgement = match line {
        [script] => policy.judge(&Question::script(dialect, script)),
        words => policy.judge(&Question::argv(words)),
    };
    let code = match judgement.verdict {
        Verdict::Allowed(_) => 0,
        Verdict::Denied(_) => EXIT_DENIED,
    };
    let text = match json {
        true => format!("{}\n", in_json(&policy, &judgement)),
        false => in_words(&judgement),
    };
    Ok((text, code))
}

fn test(path: &Path, json: bool) -> Result<(String, u8), CheckError> {
    let policy = load(path)?;
    let (rules, examples) = policy.size();
    let text = match json {
        true => format!(
            "{}\n",
            json!({"policy": policy.name(), "rules": rules, "examples": examples})
        ),
        false => format!(
            "{}: {rules} rules, {examples} examples hold\n",
            policy.name()
        ),
    };
    Ok((text, 0))
}

fn in_words(judgement: &Judgement) -> String {
    let mut text = match &judgement.verdict {
        Verdict::Allowed(allowed) => match &allowed.rule {
            Some(rule) => format!("allowed by rule {rule}\n"),
            None => "allowed\n".to_owned(),
        },
        Verdict::Denied(denial) => {
            let span = &denial.span;
            let mut text = format!("denied by rule {}: {}\n", denial.rule, denial.reason);
            text += &format!("  bytes {}..{}: {}\n", span.start, span.end, denial.excerpt);
            if let Some(suggestion) = &denial.suggestion {
                text += &format!("  instead: {suggestion}\n");
            }
            text
        }
    };
    for command in judgement.commands.iter().filter(|command| command.beyond) {
        let program = command.program.as_deref().unwrap_or_default();
        text += &format!("  note: {program} runs code that is not enforceable by a policy\n");
    }
    text
}

fn in_json(policy: &Policy, judgement: &Judgement) -> Value {
    let unresolved = judgement.unresolved.iter();
    let unresolved: Vec<Value> = unresolved
        .map(|part| json!({"span": [part.span.start, part.span.end], "reason": part.reason}))
        .collect();
    let mut answer = json!({
        "decision": "allow",
        "policy": policy.name(),
        "policy_hash": HEXLOWER.encode(&policy.content_hash()),
        "commands": judgement.commands.iter().map(command).collect::<Vec<_>>(),
        "unresolved": unresolved,
    });
    let decided = match &judgement.verdict {
        Verdict::Allowed(allowed) => json!({"rule": allowed.rule.as_deref().unwrap_or("default")}),
        Verdict::Denied(denial) => json!({
            "decision": "deny",
            "rule": denial.rule,
            "reason": denial.reason,
            "suggestion": denial.suggestion,
            "span": [denial.span.start, denial.span.end],
            "excerpt": denial.excerpt,
        }),
    };
    if let (Value::Object(answer), Value::Object(decided)) = (&mut answer, decided) {
        answer.extend(decided);
    }
    answer
}

fn command(command: &FoundCommand) -> Value {
    let words = command.words.iter();
    let unknown = words
        .clone()
        .filter(|word| word.knowledge != Knowledge::Literal);
    json!({
        "program": command.program,
        "words": words.map(|word| &word.text).collect::<Vec<_>>(),
        "not_literal": unknown.map(|word| &word.text).collect::<Vec<_>>(),
        "wrappers": command.wrappers,
        "span": [command.span.start, command.span.end],
        "rule": command.rule,
        "beyond_policy": command.beyond,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A policy file of its own, as long as it is held.
    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        file
    }

    const NO_RM: &str = "default = \"allow\"\nunresolved = \"deny\"\n\
        [[rule]]\nid = \"no-rm\"\neffect = \"deny\"\nprogram = \"rm\"\n\
        reason = \"use trash\"\nsuggest = \"trash x\"\n";

    fn checked(text: &str, line: &[&str], json: bool) -> (String, u8) {
        let file = file(text);
        let line: Vec<String> = line.iter().map(|word| (*word).to_owned()).collect();
        check(file.path(), false, &line, json).unwrap()
    }

    #[test]
    fn the_smallest_policy_denies_with_its_reason() {
        let (text, code) = checked(NO_RM, &["ls; rm x"], false);
        assert_eq!(
            (text.as_str(), code),
            (
                "denied by rule no-rm: use trash\n  bytes 4..8: rm x\n  instead: trash x\n",
                1
            )
        );
        assert_eq!(
            checked(NO_RM, &["ls -l"], false),
            ("allowed\n".to_owned(), 0)
        );
        assert_eq!(checked(NO_RM, &["echo", "a; rm b"], false).1, 0);
        assert_eq!(checked(NO_RM, &["env", "rm", "b"], false).1, 1);
    }

    #[test]
    fn json_tells_all() {
        let (text, code) = checked(NO_RM, &["env rm $x"], true);
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(code, 1);
        assert_eq!(answer["rule"], "no-rm");
        assert_eq!(answer["span"], json!([0, 9]));
        assert_eq!(answer["commands"][1]["wrappers"], json!(["env"]));
        assert_eq!(answer["commands"][1]["not_literal"], json!(["$x"]));
    }

    #[test]
    fn a_bad_policy_is_refused_with_its_line() {
        let bad = file(&format!("{NO_RM}match = [\"ls\"]\n"));
        let error = test(bad.path(), false).unwrap_err().to_string();
        assert!(
            error.contains("line 9: rule \"no-rm\", example \"ls\""),
            "{error}"
        );
        let (text, code) = test(Path::new("strict"), false).unwrap();
        assert!(text.starts_with("strict: 12 rules, "), "{text}");
        assert_eq!(code, 0);
    }
}
