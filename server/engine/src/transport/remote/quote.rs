//! Words for a POSIX shell.

/// One word that a shell reads back as `text`.
pub(super) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        let hard = "it's \"$HOME\" `id` \\ \n; x";
        let script = format!("printf %s {}", quote(hard));
        let run = std::process::Command::new("sh")
            .args(["-c", &script])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8(run.stdout).unwrap(), hard);
    }
}
