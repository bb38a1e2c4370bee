//! `meta.properties`: whose data directory it is.
//!
//! *Which core*: any; text in, text out.
//! *Invariants*: what is written reads back the same; an unknown key is kept out of the decision, a missing one is a mismatch.
//! *Why* Kafka's keys: its tools read them. `chronik.format.version` is ours, for what lies beside it.
//! Source: KIP-631 and KIP-858 (`version=1`, `cluster.id`, `node.id`, `directory.id`).

use super::kafka_id;
use uuid::Uuid;

/// The layout of everything in a data directory. A broker reads its own and older ones.
pub const FORMAT_VERSION: u32 = 1;

/// Who owns a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster; none until the broker has joined one.
    pub cluster_id: Option<String>,
    /// The broker.
    pub node_id: i32,
    /// The directory itself: a broker that comes back with another one has lost its disk.
    pub directory_id: Uuid,
}

/// Why a directory is not ours to use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Another cluster's.
    #[error("it belongs to cluster {found}, this broker is of cluster {wanted}")]
    Cluster {
        /// On disk.
        found: String,
        /// Configured.
        wanted: String,
    },
    /// Another broker's.
    #[error("it belongs to broker {found}, this is broker {wanted}")]
    Node {
        /// On disk.
        found: i32,
        /// Configured.
        wanted: i32,
    },
    /// Written by a newer release.
    #[error("it is of format {found}, this release knows formats up to {FORMAT_VERSION}: use a newer release")]
    NewerFormat {
        /// On disk.
        found: u32,
    },
    /// Not what we wrote.
    #[error("{0}")]
    Damaged(String),
}

impl Identity {
    /// The file's text.
    pub fn to_properties(&self) -> String {
        let cluster = self.cluster_id.as_ref().map(|id| format!("cluster.id={id}\n")).unwrap_or_default();
        format!(
            "version=1\n{cluster}node.id={}\ndirectory.id={}\nchronik.format.version={FORMAT_VERSION}\n",
            self.node_id,
            kafka_id::to_text(self.directory_id),
        )
    }
    /// What the file says, if that is this broker's: `self` is what we want to be, its `directory_id` is not looked at.
    pub fn check(&self, text: &[u8]) -> Result<Identity, Mismatch> {
        let found = parse(text)?;
        if found.node_id != self.node_id {
            return Err(Mismatch::Node { found: found.node_id, wanted: self.node_id });
        }
        match (&found.cluster_id, &self.cluster_id) {
            (Some(found), Some(wanted)) if found != wanted => {
                Err(Mismatch::Cluster { found: found.clone(), wanted: wanted.clone() })
            }
            (None, Some(_)) => Ok(Identity { cluster_id: self.cluster_id.clone(), ..found }),
            (Some(_) | None, _) => Ok(found),
        }
    }
}

fn parse(text: &[u8]) -> Result<Identity, Mismatch> {
    let text = str::from_utf8(text).map_err(|_| Mismatch::Damaged("it is not text".to_owned()))?;
    let value = |wanted: &str| {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let mut pairs = lines.filter_map(|line| line.split_once('='));
        pairs.find_map(|(key, value)| (key.trim() == wanted).then(|| value.trim()))
    };
    let required = |wanted: &str| value(wanted).ok_or_else(|| Mismatch::Damaged(format!("{wanted} is missing")));
    let wrong = |wanted: &str| Mismatch::Damaged(format!("{wanted} has no valid value"));
    let format: u32 = required("chronik.format.version")?.parse().map_err(|_| wrong("chronik.format.version"))?;
    if format > FORMAT_VERSION {
        return Err(Mismatch::NewerFormat { found: format });
    }
    Ok(Identity {
        cluster_id: value("cluster.id").map(str::to_owned),
        node_id: required("node.id")?.parse().map_err(|_| wrong("node.id"))?,
        directory_id: kafka_id::from_text(required("directory.id")?).ok_or_else(|| wrong("directory.id"))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity { cluster_id: Some("c1".to_owned()), node_id: 3, directory_id: Uuid::from_u128(0x1234) }
    }

    #[test]
    fn the_text_is_kafkas_and_reads_back() {
        let text = identity().to_properties();
        let golden =
            "version=1\ncluster.id=c1\nnode.id=3\ndirectory.id=AAAAAAAAAAAAAAAAAAASNA\nchronik.format.version=1\n";
        assert_eq!(text, golden);
        assert_eq!(identity().check(text.as_bytes()), Ok(identity()));
        let unjoined = Identity { cluster_id: None, ..identity() };
        assert_eq!(unjoined.check(unjoined.to_properties().as_bytes()), Ok(unjoined.clone()));
        assert_eq!(identity().check(unjoined.to_properties().as_bytes()), Ok(identity()), "it joins now");
        assert_eq!(unjoined.check(text.as_bytes()), Ok(identity()), "it has joined before");
    }

    #[test]
    fn anothers_directory_is_refused_with_a_sentence() {
        let text = identity().to_properties();
        let refused = |wanted: Identity, text: &str| wanted.check(text.as_bytes()).expect_err("refused").to_string();
        let other_node = Identity { node_id: 4, ..identity() };
        assert_eq!(refused(other_node, &text), "it belongs to broker 3, this is broker 4");
        let other_cluster = Identity { cluster_id: Some("c2".to_owned()), ..identity() };
        assert_eq!(refused(other_cluster, &text), "it belongs to cluster c1, this broker is of cluster c2");
        let newer = text.replace("format.version=1", "format.version=2");
        assert!(refused(identity(), &newer).contains("newer release"));
        for (broken, what) in [("node.id=3", "node.id is missing"), ("directory.id=", "directory.id is missing")] {
            assert_eq!(refused(identity(), &text.replace(broken, "#")), what);
        }
        assert_eq!(refused(identity(), &text.replace("=3", "=x")), "node.id has no valid value");
        assert!(identity().check(&[0xff]).is_err());
    }
}
