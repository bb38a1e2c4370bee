//! One Rust file, seen three ways: as written, as code (comments and literals blanked), and as code that ships (tests blanked too).
//!
//! Invariants: all three have the same length and the same lines, so that a position in one is a position in all.
//! Not here: Rust's grammar. A scanner that knows comments, strings and braces is enough for rules about names.

use std::ops::Range;
use std::path::{Path, PathBuf};

/// A file and its views.
pub struct Source {
    /// Relative to the root.
    pub file: PathBuf,
    /// As written.
    pub text: String,
    /// Comments, strings and characters blanked.
    pub code: String,
    /// `code` with the items under `#[cfg(test)]` blanked; blank altogether in a test file.
    pub shipped: String,
}

impl Source {
    /// Reads the views off a file's text.
    pub fn new(file: &Path, text: &str) -> Self {
        let code = blank_comments_and_literals(text);
        let shipped = if is_test_path(file) { blank_all(&code) } else { blank_test_items(&code) };
        Self { file: file.to_path_buf(), text: text.to_owned(), code, shipped }
    }

    /// Every place where `word` stands as a whole word in `view` (one of the three), as byte positions.
    pub fn words<'a>(view: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        view.match_indices(word).map(|(position, _)| position).filter(move |position| {
            let before = view[..*position].chars().next_back();
            let after = view[position + word.len()..].chars().next();
            !before.is_some_and(is_word) && !after.is_some_and(is_word)
        })
    }

    /// The line, from 1, of a byte position.
    pub fn line(&self, position: usize) -> usize {
        self.text[..position].matches('\n').count() + 1
    }
}

/// Blanks what ships of files that another file declares as `#[cfg(test)] mod name;`.
pub fn mark_test_files(sources: &mut [Source]) {
    let declared: Vec<PathBuf> = sources.iter().flat_map(test_modules_declared).collect();
    for source in sources {
        if declared.iter().any(|module| source.file.with_extension("").starts_with(module)) {
            source.shipped = blank_all(&source.code);
        }
    }
}

fn test_modules_declared(source: &Source) -> Vec<PathBuf> {
    let folder = module_folder(&source.file);
    test_items(&source.code)
        .filter_map(|item| {
            let (_, declaration) = source.code[item].split_once("mod ")?;
            declaration.strip_suffix(';').map(|name| folder.join(name.trim()))
        })
        .collect()
}

/// The folder in which a file's child modules lie.
fn module_folder(file: &Path) -> PathBuf {
    let is_root = file.file_stem().is_some_and(|stem| stem == "lib" || stem == "main");
    if is_root { file.parent().unwrap_or(Path::new("")).to_path_buf() } else { file.with_extension("") }
}

fn is_test_path(file: &Path) -> bool {
    file.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "benches")
        || file.file_name().is_some_and(|name| name == "tests.rs")
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn blank_all(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    blank(&mut bytes, 0..text.len());
    into_text(bytes)
}

fn blank_test_items(code: &str) -> String {
    let mut bytes = code.as_bytes().to_vec();
    for item in test_items(code) {
        blank(&mut bytes, item);
    }
    into_text(bytes)
}

/// The items under `#[cfg(test)]` and `#[test]`, attribute included.
fn test_items(code: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    ["#[cfg(test)]", "#[cfg(all(test", "#[test]"]
        .into_iter()
        .flat_map(|attribute| code.match_indices(attribute))
        .map(|(start, _)| start..item_end(code, start))
}

/// The end of the item that starts at `start`: its first semicolon, or the brace that closes its first brace.
fn item_end(code: &str, start: usize) -> usize {
    let mut depth = 0_usize;
    for (index, byte) in code.bytes().enumerate().skip(start) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth <= 1 => return index + 1,
            b'}' => depth -= 1,
            b';' if depth == 0 => return index + 1,
            _ => {}
        }
    }
    code.len()
}

fn blank_comments_and_literals(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = token_end(bytes, at);
        if end > at {
            blank(&mut code, at..end);
            at = end;
        } else {
            // A whole word at a time, so that the `r` of `for"` is not taken for a raw string.
            let word = bytes[at..].iter().take_while(|byte| is_word(**byte as char)).count();
            at += word.max(1);
        }
    }
    into_text(code)
}

/// The end of the comment or literal that starts at `at`; `at` itself where none starts.
fn token_end(bytes: &[u8], at: usize) -> usize {
    match &bytes[at..] {
        [b'/', b'/', ..] => {
            bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |length| at + length)
        }
        [b'/', b'*', ..] => block_comment_end(bytes, at),
        [b'"', ..] => string_end(bytes, at + 1),
        [b'b' | b'c', b'"', ..] => string_end(bytes, at + 2),
        [b'r', b'"' | b'#', ..] => raw_string_end(bytes, at, 1),
        [b'b' | b'c', b'r', b'"' | b'#', ..] => raw_string_end(bytes, at, 2),
        [b'b', b'\'', ..] => character_end(bytes, at + 1),
        [b'\'', ..] => character_end(bytes, at),
        _ => at,
    }
}

fn block_comment_end(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = start;
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => depth += 1,
            b"*/" if depth == 1 => return at + 2,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
    }
    bytes.len()
}

fn string_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// `start` itself for a raw identifier such as `r#type`.
fn raw_string_end(bytes: &[u8], start: usize, prefix: usize) -> usize {
    let hashes = bytes[start + prefix..].iter().take_while(|byte| **byte == b'#').count();
    let open = start + prefix + hashes;
    if bytes.get(open) != Some(&b'"') {
        return start;
    }
    let close = [&b"\""[..], &b"#".repeat(hashes)].concat();
    bytes[open + 1..]
        .windows(close.len())
        .position(|window| window == close)
        .map_or(bytes.len(), |length| open + 1 + length + close.len())
}

/// `start` itself for a lifetime.
fn character_end(bytes: &[u8], start: usize) -> usize {
    let rest = &bytes[start + 1..];
    if rest.first() == Some(&b'\\') {
        // The escaped character may be a quote.
        return rest
            .iter()
            .skip(2)
            .position(|byte| *byte == b'\'')
            .map_or(bytes.len(), |length| start + 1 + 2 + length + 1);
    }
    let width = std::str::from_utf8(&rest[..rest.len().min(4)])
        .map_or_else(|error| error.valid_up_to(), str::len)
        .min(rest.len());
    let first = std::str::from_utf8(&rest[..width]).ok().and_then(|text| text.chars().next()).map_or(1, char::len_utf8);
    if rest.get(first) == Some(&b'\'') { start + 1 + first + 1 } else { start }
}

fn blank(bytes: &mut [u8], range: Range<usize>) {
    for byte in &mut bytes[range] {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
}

fn into_text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("whole tokens were blanked, byte for byte")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        let source = Source::new(Path::new("src/a.rs"), text);
        assert_eq!(source.code.len(), text.len());
        source.code.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_and_literals_are_blanked_and_code_is_not() {
        assert_eq!(code("a // b\nc /* d /* e */ f */ g"), "a c g");
        assert_eq!(code(r#"a("b \" c", b"d", 'e', '\'', b'f', '"') g"#), "a( , , , , , ) g");
        assert_eq!(code("a(r#\"b \" c\"#, r\"\\\", br#\"d\"#) e"), "a( , , ) e");
        assert_eq!(
            code("fn f<'a>(x: &'a str) -> &'static str { r#type }"),
            "fn f<'a>(x: &'a str) -> &'static str { r#type }"
        );
        assert_eq!(code("'ä' b"), "b");
    }

    #[test]
    fn what_is_under_cfg_test_does_not_ship() {
        let source =
            Source::new(Path::new("src/a.rs"), "fn a() {}\n#[cfg(test)]\nmod tests { fn b() { c() } }\nfn d() {}");
        assert!(source.shipped.contains("fn a") && source.shipped.contains("fn d"));
        assert!(!source.shipped.contains("fn b"));
        assert_eq!(source.line(source.shipped.find("fn d").expect("it is there")), 4);
    }

    #[test]
    fn a_file_declared_as_a_test_module_does_not_ship() {
        let mut sources = vec![
            Source::new(Path::new("src/a.rs"), "#[cfg(test)]\nmod model;\nfn a() {}"),
            Source::new(Path::new("src/a/model.rs"), "fn b() {}"),
            Source::new(Path::new("src/model.rs"), "fn c() {}"),
        ];
        mark_test_files(&mut sources);
        assert!(sources[0].shipped.contains("fn a"));
        assert!(!sources[1].shipped.contains("fn b"));
        assert!(sources[2].shipped.contains("fn c"));
    }

    #[test]
    fn words_are_whole() {
        let found: Vec<usize> = Source::words("rand brand rand_core rand::x", "rand").collect();
        assert_eq!(found, [0, 21]);
    }
}
