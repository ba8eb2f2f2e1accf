//! The patterns that operators list: a text, or its beginning and a `*` for whatever follows.

/// Whether a list of patterns has this name.
pub(crate) fn is_listed(patterns: &[String], name: &str) -> bool {
    patterns
        .iter()
        .any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => pattern == name,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_whatever_follows_and_nothing_else_is_special() {
        let patterns = ["ssh:build-*".to_owned(), "local".to_owned()];
        for (name, listed) in [
            ("local", true),
            ("locale", false),
            ("ssh:build-", true),
            ("ssh:build-1", true),
            ("ssh:web", false),
        ] {
            assert_eq!(is_listed(&patterns, name), listed, "{name}");
        }
        assert!(!is_listed(&[], "local"));
    }
}
