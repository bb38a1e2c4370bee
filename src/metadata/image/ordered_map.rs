//! An ordered map that two versions can share: a clone costs one count, an insertion copies one chunk and the list of chunks.
//!
//! *Which core*: any; a version that is published is never changed again.
//! *Invariants*: keys rise strictly, within a chunk and from one to the next; no chunk is empty or above [`CHUNK_ENTRIES_MAX`].
//! *Why* not a library's persistent map: two levels are all that some 100,000 entries need (the list of chunks is then 16 KiB),
//! they take a page of code, and keys can be looked up by an order of the caller's, which topic names need.

use std::cmp::Ordering;
use std::sync::Arc;

const CHUNK_ENTRIES_MAX: usize = 64;
/// A chunk this small is joined to its neighbour if both fit into one.
const CHUNK_ENTRIES_MIN: usize = 16;

type Chunk<K, V> = Arc<Vec<(K, V)>>;

/// See the module.
#[derive(Clone, Debug)]
pub struct OrderedMap<K, V> {
    chunks: Arc<Vec<Chunk<K, V>>>,
    len: usize,
}

impl<K, V> Default for OrderedMap<K, V> {
    fn default() -> Self {
        OrderedMap { chunks: Arc::new(Vec::new()), len: 0 }
    }
}

impl<K, V> OrderedMap<K, V> {
    /// How many entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// No entries?
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The entries, by key.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.chunks.iter().flat_map(|chunk| chunk.iter().map(|(key, value)| (key, value)))
    }

    /// The values, by key.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// The entry whose key `order` calls equal; `order` compares a key with what is sought, in the keys' own order.
    pub fn find(&self, order: impl Fn(&K) -> Ordering) -> Option<(&K, &V)> {
        let (chunk, slot) = self.search(order).ok()?;
        let (key, value) = &self.chunks[chunk][slot];
        Some((key, value))
    }

    /// Are both the same version of the same map? If not, they may still be equal.
    pub fn same_version(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.chunks, &other.chunks)
    }

    /// Where the key is, or where it would be inserted, as (chunk, slot).
    fn search(&self, order: impl Fn(&K) -> Ordering) -> Result<(usize, usize), (usize, usize)> {
        let chunk = self.chunks.partition_point(|chunk| order(&chunk[0].0) != Ordering::Greater).saturating_sub(1);
        match self.chunks.get(chunk).map(|entries| entries.binary_search_by(|(key, _)| order(key))) {
            Some(Ok(slot)) => Ok((chunk, slot)),
            Some(Err(slot)) => Err((chunk, slot)),
            None => Err((0, 0)),
        }
    }
}

impl<K: Ord + Clone, V: Clone> OrderedMap<K, V> {
    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.find(|probe| probe.cmp(key)).map(|(_, value)| value)
    }

    /// Sets a key's value; gives the one it had.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let place = self.search(|probe| probe.cmp(&key));
        let chunks = Arc::make_mut(&mut self.chunks);
        match place {
            Ok((chunk, slot)) => Some(std::mem::replace(&mut Arc::make_mut(&mut chunks[chunk])[slot].1, value)),
            Err((chunk, slot)) => {
                if chunks.is_empty() {
                    chunks.push(Chunk::default());
                }
                let entries = Arc::make_mut(&mut chunks[chunk]);
                entries.insert(slot, (key, value));
                if entries.len() > CHUNK_ENTRIES_MAX {
                    let upper = entries.split_off(split_at(slot, entries.len()));
                    chunks.insert(chunk + 1, Arc::new(upper));
                }
                self.len += 1;
                None
            }
        }
    }

    /// Removes a key; gives the value it had.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let (chunk, slot) = self.search(|probe| probe.cmp(key)).ok()?;
        let chunks = Arc::make_mut(&mut self.chunks);
        let entries = Arc::make_mut(&mut chunks[chunk]);
        let (_, value) = entries.remove(slot);
        let left = entries.len();
        self.len -= 1;
        if left == 0 {
            chunks.remove(chunk);
        } else if left < CHUNK_ENTRIES_MIN
            && chunks.get(chunk + 1).is_some_and(|next| left + next.len() <= CHUNK_ENTRIES_MAX)
        {
            let next = chunks.remove(chunk + 1);
            Arc::make_mut(&mut chunks[chunk]).extend(next.iter().cloned());
        }
        Some(value)
    }
}

/// Half and half, except where keys arrive in order: then the full chunk stays full.
fn split_at(inserted: usize, len: usize) -> usize {
    if inserted + 1 == len { len - 1 } else { len / 2 }
}

impl<K: PartialEq, V: PartialEq> PartialEq for OrderedMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.same_version(other) || (self.len == other.len && self.iter().eq(other.iter()))
    }
}

impl<K: Ord + Clone, V: Clone> FromIterator<(K, V)> for OrderedMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = OrderedMap::default();
        for (key, value) in entries {
            map.insert(key, value);
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn it_does_what_a_b_tree_does_and_leaves_older_versions_alone(
            steps in proptest::collection::vec((any::<bool>(), 0u16..400, any::<u8>()), 0..1500)
        ) {
            let (mut map, mut model) = (OrderedMap::default(), BTreeMap::new());
            let mut older: Vec<(OrderedMap<u16, u8>, BTreeMap<u16, u8>)> = Vec::new();
            for (step, (insert, key, value)) in steps.into_iter().enumerate() {
                if insert {
                    prop_assert_eq!(map.insert(key, value), model.insert(key, value));
                } else {
                    prop_assert_eq!(map.remove(&key), model.remove(&key));
                }
                prop_assert_eq!(map.len(), model.len());
                prop_assert_eq!(map.get(&key), model.get(&key));
                if step % 100 == 0 {
                    older.push((map.clone(), model.clone()));
                }
            }
            older.push((map, model));
            for (map, model) in older {
                prop_assert!(map.iter().eq(model.iter()));
                prop_assert!(map.chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() <= CHUNK_ENTRIES_MAX));
            }
        }
    }

    #[test]
    fn an_insertion_into_many_copies_one_chunk() {
        let map: OrderedMap<u32, u32> = (0..10_000).map(|key| (key, key)).collect();
        let mut changed = map.clone();
        changed.insert(5_000, 0);
        let shared = map.chunks.iter().zip(changed.chunks.iter()).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert_eq!(shared, map.chunks.len() - 1);
        assert!(map.chunks.len() < 10_000 / 50, "keys in order fill their chunks");
    }
}
