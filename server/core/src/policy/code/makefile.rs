//! make: recipes, `$(shell …)` and what is put into `SHELL`.

use super::Start;

pub(super) fn starts(code: &str) -> Vec<Start> {
    let mut found = Vec::new();
    for line in code.split('\n') {
        let recipe = match line.strip_prefix('\t') {
            Some(recipe) => Some(recipe),
            // `target: prerequisites ; recipe`.
            None if line.contains(':') => line.split_once(';').map(|(_, recipe)| recipe),
            None => None,
        };
        if let Some(recipe) = recipe {
            found.push(Start::Script(shell_text(recipe)));
        }
        if let Some((name, value)) = line.split_once('=')
            && matches!(
                name.trim_end_matches([':', '?', ' ', '\t']),
                "SHELL" | ".SHELLFLAGS"
            )
        {
            found.push(Start::Script(shell_text(value)));
        }
        let mut rest = line;
        while let Some((_, call)) = rest.split_once("$(shell ") {
            let end = call.rfind(')').unwrap_or(call.len());
            found.push(Start::Script(shell_text(
                call.get(..end).unwrap_or_default(),
            )));
            rest = call;
        }
    }
    found
}

/// A recipe as a shell gets it; make's variables become the shell's.
fn shell_text(recipe: &str) -> String {
    let recipe = recipe.trim_start_matches(['@', '-', '+', ' ', '\t']);
    let recipe = recipe.replace("$(", "${");
    let mut text = String::with_capacity(recipe.len());
    for (at, part) in recipe.split("${").enumerate() {
        if at == 0 {
            text.push_str(part);
            continue;
        }
        let end = part.find([')', '}']).unwrap_or(part.len());
        let (name, rest) = part.split_at(end);
        let plain = name
            .chars()
            .all(|letter| letter.is_alphanumeric() || letter == '_');
        text.push_str("${");
        text.push_str(if plain && !name.is_empty() {
            name
        } else {
            "MAKE_VALUE"
        });
        text.push('}');
        text.push_str(rest.get(1..).unwrap_or_default());
    }
    text.replace("$$", "$")
}
