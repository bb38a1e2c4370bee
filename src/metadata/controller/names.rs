//! Which names a topic may have (Kafka's `Topic.validate`).
//!
//! *Which core*: metadata. Pure.

/// Longest name, in bytes: what leaves room for `-<partition>` and a suffix in a file name.
pub const TOPIC_NAME_BYTES_MAX: usize = 249;
/// The metadata log, by Kafka's name; no topic may take it.
pub const CLUSTER_METADATA: &str = "__cluster_metadata";

/// Why `name` is no topic's name.
pub(super) fn fault(name: &str) -> Option<String> {
    let reason = match name {
        "" => "the empty string is not allowed".to_owned(),
        "." => "'.' is not allowed".to_owned(),
        ".." => "'..' is not allowed".to_owned(),
        _ if name.len() > TOPIC_NAME_BYTES_MAX => {
            format!("the length of '{name}' is longer than the max allowed length {TOPIC_NAME_BYTES_MAX}")
        }
        _ if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) => {
            format!("'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'")
        }
        _ => return None,
    };
    Some(format!("Topic name is invalid: {reason}"))
}

/// Is it a name that clients may not create?
pub(super) fn is_reserved(name: &str) -> bool {
    name == CLUSTER_METADATA
}
