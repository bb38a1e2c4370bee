//! The nearest known name to one that is not known.
//!
//! *Which core*: any. *Why*: a setting that is misspelt is refused, and the person should not have to search for the right one.

/// The candidate that `word` most likely meant; none if all are too different to be meant.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = normal(word);
    let edits_max = (word.len() / 3).max(2);
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, &normal(candidate)), candidate))
        .filter(|(edits, _)| *edits <= edits_max)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// `; did you mean X?`, or nothing.
pub fn hint<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, candidates).map_or_else(String::new, |name| format!("; did you mean {name}?"))
}

/// Case and the kind of separator are no difference that a person means.
fn normal(word: &str) -> Vec<char> {
    word.chars().map(|c| if c == '_' || c == '-' { '.' } else { c.to_ascii_lowercase() }).collect()
}

/// Edits from one word to the other: insertions, deletions, replacements, and swaps of neighbours.
fn distance(from: &[char], to: &[char]) -> usize {
    // Three rows of the table of prefixes: two back for swaps.
    let mut before: Vec<usize> = vec![0; to.len() + 1];
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for i in 1..=from.len() {
        let mut row = vec![i; to.len() + 1];
        for j in 1..=to.len() {
            let replaced = above[j - 1] + usize::from(from[i - 1] != to[j - 1]);
            row[j] = replaced.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 4] = ["num.partitions", "log.retention.ms", "log.retention.minutes", "kafka-port"];

    #[test]
    fn edits_are_counted() {
        for (from, to, edits) in
            [("", "abc", 3), ("abc", "abc", 0), ("abc", "acb", 1), ("kitten", "sitting", 3), ("ca", "abc", 3)]
        {
            let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
            assert_eq!(distance(&from, &to), edits);
            assert_eq!(distance(&to, &from), edits);
        }
    }

    #[test]
    fn a_slip_of_the_finger_finds_its_name() {
        assert_eq!(nearest("num.partition", NAMES), Some("num.partitions"));
        assert_eq!(nearest("log.retenton.ms", NAMES), Some("log.retention.ms"));
        assert_eq!(nearest("KAFKA_PORT", NAMES), Some("kafka-port"));
        assert_eq!(nearest("kakfa-prot", NAMES), Some("kafka-port"));
    }

    #[test]
    fn a_word_far_from_all_names_gets_no_suggestion() {
        assert_eq!(nearest("frobnicate", NAMES), None);
        assert_eq!(nearest("x", NAMES), None);
        assert_eq!(hint("x", NAMES), "");
    }
}
