//! Names on a simulated disk: directories as they are, as they are for good, and the changes between.
//!
//! *Which core*: the simulation's one thread.
//! *Invariants*: a name change is durable once every directory it touches was flushed after it; a rename is one change, never
//! half. After a crash each change that was not durable is there or not, unless it builds on one that is not.
//! *Not here*: what files hold (image.rs).

use super::super::{DirEntry, DiskErrorReason};
use super::image::{Loss, Sequence, SimInode};
use rand::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

/// A file or directory, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NodeId(u64);

const ROOT: NodeId = NodeId(0);

type Outcome<T> = Result<T, DiskErrorReason>;

#[derive(Debug)]
enum Node {
    Dir { entries: BTreeMap<String, NodeId>, durable: BTreeMap<String, NodeId> },
    File(SimInode),
}

/// A change of names: `node` leaves the first place, or enters the second, or both.
#[derive(Clone, Debug)]
struct NameChange {
    sequence: Sequence,
    node: NodeId,
    from: Option<(NodeId, String)>,
    to: Option<(NodeId, String)>,
    /// Directories of the two that were not flushed since.
    unflushed: Vec<NodeId>,
}

/// All names and nodes of a disk.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: BTreeMap<NodeId, Node>,
    opens: BTreeMap<NodeId, u32>,
    dirty: BTreeSet<NodeId>,
    changes: Vec<NameChange>,
    next_node: u64,
    sequence: Sequence,
}

fn failed<T>(text: &str) -> Outcome<T> {
    Err(DiskErrorReason::Io(text.to_owned()))
}

impl Tree {
    pub(super) fn new() -> Tree {
        let root = Node::Dir { entries: BTreeMap::new(), durable: BTreeMap::new() };
        Tree {
            nodes: BTreeMap::from([(ROOT, root)]),
            opens: BTreeMap::new(),
            dirty: BTreeSet::new(),
            changes: Vec::new(),
            next_node: 1,
            sequence: 0,
        }
    }
    /// The latest completed change.
    pub(super) fn sequence(&self) -> Sequence {
        self.sequence
    }

    fn entries(&self, dir: NodeId) -> Outcome<&BTreeMap<String, NodeId>> {
        match self.nodes.get(&dir) {
            Some(Node::Dir { entries, .. }) => Ok(entries),
            Some(Node::File(_)) => failed("not a directory"),
            None => Err(DiskErrorReason::NotFound),
        }
    }
    fn entries_mut(&mut self, dir: NodeId) -> &mut BTreeMap<String, NodeId> {
        match self.nodes.get_mut(&dir) {
            Some(Node::Dir { entries, .. }) => entries,
            Some(Node::File(_)) | None => unreachable!("a resolved directory is one"),
        }
    }
    /// The node that a path names.
    pub(super) fn resolve(&self, path: &Path) -> Outcome<NodeId> {
        names_of(path)
            .try_fold(ROOT, |dir, name| self.entries(dir)?.get(&name).copied().ok_or(DiskErrorReason::NotFound))
    }
    fn resolve_parent(&self, path: &Path) -> Outcome<(NodeId, String)> {
        let (Some(parent), Some(name)) = (path.parent(), names_of(path).last()) else {
            return failed("the root has no parent");
        };
        let dir = self.resolve(parent)?;
        self.entries(dir)?;
        Ok((dir, name))
    }
    /// The file behind a node, to change.
    pub(super) fn file_mut(&mut self, node: NodeId) -> Outcome<(&mut SimInode, Sequence)> {
        match self.nodes.get_mut(&node) {
            Some(Node::File(file)) => {
                self.sequence += 1;
                self.dirty.insert(node);
                Ok((file, self.sequence))
            }
            Some(Node::Dir { .. }) => failed("is a directory"),
            None => failed("gone"),
        }
    }
    /// The file behind a node.
    pub(super) fn file(&self, node: NodeId) -> Outcome<&SimInode> {
        match self.nodes.get(&node) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Dir { .. }) => failed("is a directory"),
            None => failed("gone"),
        }
    }
    /// Counts an open handle, which keeps a file without a name alive.
    pub(super) fn opened(&mut self, node: NodeId) {
        *self.opens.entry(node).or_default() += 1;
    }
    /// Takes [`Tree::opened`] back.
    pub(super) fn closed(&mut self, node: NodeId) {
        if let Some(count) = self.opens.get_mut(&node) {
            *count -= 1;
            if *count == 0 {
                self.opens.remove(&node);
            }
        }
    }
    /// Blocks that cannot be given to others: those of files with a name or an open handle.
    pub(super) fn block_count(&self) -> u64 {
        let named = self.reachable(false);
        let held = self.nodes.iter().filter(|(node, _)| named.contains(node) || self.opens.contains_key(node));
        held.map(|(_, node)| if let Node::File(file) = node { file.block_count() } else { 0 }).sum()
    }

    fn record(&mut self, node: NodeId, from: Option<(NodeId, String)>, to: Option<(NodeId, String)>) {
        if let Some((dir, name)) = &from {
            self.entries_mut(*dir).remove(name);
        }
        if let Some((dir, name)) = &to {
            self.entries_mut(*dir).insert(name.clone(), node);
        }
        self.sequence += 1;
        let mut unflushed: Vec<NodeId> = from.iter().chain(&to).map(|(dir, _)| *dir).collect();
        unflushed.dedup();
        self.changes.push(NameChange { sequence: self.sequence, node, from, to, unflushed });
    }
    fn add(&mut self, path: &Path, node: Node) -> Outcome<NodeId> {
        let (dir, name) = self.resolve_parent(path)?;
        if self.entries(dir)?.contains_key(&name) {
            return failed("File exists");
        }
        let id = NodeId(self.next_node);
        self.next_node += 1;
        self.nodes.insert(id, node);
        self.record(id, None, Some((dir, name)));
        Ok(id)
    }
    /// A new, empty file.
    pub(super) fn create(&mut self, path: &Path) -> Outcome<NodeId> {
        self.add(path, Node::File(SimInode::default()))
    }
    /// A new, empty directory.
    pub(super) fn make_dir(&mut self, path: &Path) -> Outcome<()> {
        self.add(path, Node::Dir { entries: BTreeMap::new(), durable: BTreeMap::new() }).map(drop)
    }
    /// A file that is there for good, its directories too.
    pub(super) fn put_durable(&mut self, path: &Path, file: SimInode) {
        let names: Vec<String> = names_of(path).collect();
        let (last, parents) = names.split_last().expect("a file has a name");
        let mut dir = ROOT;
        for name in parents {
            let empty = || Node::Dir { entries: BTreeMap::new(), durable: BTreeMap::new() };
            dir = self.put_entry(dir, name, empty, true);
        }
        self.put_entry(dir, last, || Node::File(file), false);
    }
    fn put_entry(&mut self, dir: NodeId, name: &str, node: impl FnOnce() -> Node, keep: bool) -> NodeId {
        let found = self.entries(dir).expect("a directory").get(name).copied().filter(|_| keep);
        let id = found.unwrap_or_else(|| {
            let id = NodeId(self.next_node);
            self.next_node += 1;
            self.nodes.insert(id, node());
            id
        });
        self.changes.retain(|change| [&change.from, &change.to].iter().all(|p| !is_place(p.as_ref(), dir, name)));
        if let Some(Node::Dir { entries, durable }) = self.nodes.get_mut(&dir) {
            entries.insert(name.to_owned(), id);
            durable.insert(name.to_owned(), id);
        }
        id
    }
    /// The entries of a directory, by name.
    pub(super) fn list(&self, path: &Path) -> Outcome<Vec<DirEntry>> {
        let entries = self.entries(self.resolve(path)?)?.iter();
        Ok(entries
            .map(|(name, node)| match &self.nodes[node] {
                Node::Dir { .. } => DirEntry { name: name.clone(), is_dir: true, bytes: 0 },
                Node::File(file) => DirEntry { name: name.clone(), is_dir: false, bytes: file.current().bytes },
            })
            .collect())
    }
    /// Files under `path` whose names are durable, and what of them is.
    pub(super) fn durable_files(&self, path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut todo = vec![(PathBuf::from("/"), ROOT)];
        while let Some((name, node)) = todo.pop() {
            match &self.nodes[&node] {
                Node::File(file) if name.starts_with(path) => {
                    found.insert(name, file.durable_contents());
                }
                Node::Dir { durable, .. } if name.starts_with(path) || path.starts_with(&name) => {
                    todo.extend(durable.iter().map(|(entry, node)| (name.join(entry), *node)));
                }
                Node::File(_) | Node::Dir { .. } => {}
            }
        }
        found
    }
    /// As rename(2).
    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> Outcome<()> {
        let node = self.resolve(from)?;
        let (from_place, to_place) = (self.resolve_parent(from)?, self.resolve_parent(to)?);
        if from_place == to_place {
            return Ok(());
        }
        let moves_dir = matches!(self.nodes[&node], Node::Dir { .. });
        if moves_dir && to.starts_with(from) {
            return failed("Invalid argument");
        }
        if let Ok(target) = self.resolve(to) {
            match (&self.nodes[&target], moves_dir) {
                (Node::Dir { entries, .. }, true) if entries.is_empty() => {}
                (Node::Dir { .. }, true) => return failed("Directory not empty"),
                (Node::Dir { .. }, false) => return failed("Is a directory"),
                (Node::File(_), true) => return failed("Not a directory"),
                (Node::File(_), false) => {}
            }
        }
        self.record(node, Some(from_place), Some(to_place));
        Ok(())
    }
    /// Removes a file's name.
    pub(super) fn remove(&mut self, path: &Path) -> Outcome<()> {
        let node = self.resolve(path)?;
        if matches!(self.nodes[&node], Node::Dir { .. }) {
            return failed("Is a directory");
        }
        let place = self.resolve_parent(path)?;
        self.record(node, Some(place), None);
        Ok(())
    }
    /// Removes a directory, from the leaves up.
    pub(super) fn remove_tree(&mut self, path: &Path) -> Outcome<()> {
        for name in self.entries(self.resolve(path)?)?.keys().cloned().collect::<Vec<_>>() {
            let child = path.join(name);
            match self.nodes[&self.resolve(&child)?] {
                Node::Dir { .. } => self.remove_tree(&child)?,
                Node::File(_) => self.remove(&child)?,
            }
        }
        let node = self.resolve(path)?;
        let place = self.resolve_parent(path)?;
        self.record(node, Some(place), None);
        Ok(())
    }

    /// A flush of a directory, covering what had completed by `upto`.
    pub(super) fn sync_dir(&mut self, path: &Path, upto: Sequence) -> Outcome<()> {
        let dir = self.resolve(path)?;
        self.entries(dir)?;
        for change in self.changes.iter_mut().filter(|change| change.sequence <= upto) {
            change.unflushed.retain(|unflushed| *unflushed != dir);
        }
        let settled: Vec<_> = self.changes.extract_if(.., |change| change.unflushed.is_empty()).collect();
        settled.iter().for_each(|change| self.settle_name(change));
        if settled.iter().any(|change| change.from.is_some()) {
            self.sweep();
        }
        Ok(())
    }
    fn settle_name(&mut self, change: &NameChange) {
        if let Some((dir, name)) = &change.from
            && let Some(Node::Dir { durable, .. }) = self.nodes.get_mut(dir)
            && durable.get(name) == Some(&change.node)
        {
            durable.remove(name);
        }
        if let Some((dir, name)) = &change.to
            && let Some(Node::Dir { durable, .. }) = self.nodes.get_mut(dir)
        {
            durable.insert(name.clone(), change.node);
        }
    }
    /// A flush of a file, covering what had completed by `upto`; with `device`, of what others have in place too.
    pub(super) fn flush(&mut self, node: NodeId, upto: Sequence, device: bool) {
        self.each_dirty(|id, file| {
            if id == node {
                file.settle(upto);
            } else if device {
                file.settle_in_place(upto);
            }
        });
    }
    /// Visits every file that is not wholly durable, in order.
    pub(super) fn each_dirty(&mut self, mut visit: impl FnMut(NodeId, &mut SimInode)) {
        let nodes = &mut self.nodes;
        self.dirty.retain(|id| match nodes.get_mut(id) {
            Some(Node::File(file)) => {
                visit(*id, file);
                !file.is_clean()
            }
            Some(Node::Dir { .. }) | None => false,
        });
    }
    /// Power is lost: what is not durable survives or not, and no handle is open.
    pub(super) fn lose_power(&mut self, loss: &mut Loss<'_>) {
        let mut lost: Vec<NameChange> = Vec::new();
        for change in std::mem::take(&mut self.changes) {
            if lost.iter().any(|earlier| change.builds_on(earlier)) || !loss.dice.random_bool(loss.survival) {
                lost.push(change);
            } else {
                self.settle_name(&change);
            }
        }
        for node in self.nodes.values_mut() {
            match node {
                Node::Dir { entries, durable } => entries.clone_from(durable),
                Node::File(file) => file.lose_power(loss),
            }
        }
        self.dirty.clear();
        self.opens.clear();
        self.sweep();
    }
    /// Every handle is gone, as when a process ends.
    pub(super) fn close_all(&mut self) {
        self.opens.clear();
    }

    /// Nodes with a name; with `ever`, also those that a crash could give one.
    fn reachable(&self, ever: bool) -> BTreeSet<NodeId> {
        let (mut found, mut todo) = (BTreeSet::new(), vec![ROOT]);
        while let Some(id) = todo.pop() {
            if !found.insert(id) {
                continue;
            }
            if let Some(Node::Dir { entries, durable }) = self.nodes.get(&id) {
                todo.extend(entries.values());
                if ever {
                    todo.extend(durable.values());
                    let here = self.changes.iter().filter(|change| change.places().any(|(dir, _)| *dir == id));
                    todo.extend(here.map(|change| change.node));
                }
            }
        }
        found
    }
    /// Forgets what no name, handle or crash can bring back.
    fn sweep(&mut self) {
        let found = self.reachable(true);
        self.changes.retain(|change| change.places().any(|(dir, _)| found.contains(dir)));
        let opens = &self.opens;
        self.nodes.retain(|id, _| found.contains(id) || opens.contains_key(id));
    }
}

impl NameChange {
    fn places(&self) -> impl Iterator<Item = &(NodeId, String)> {
        self.from.iter().chain(&self.to)
    }
    fn builds_on(&self, earlier: &NameChange) -> bool {
        self.node == earlier.node || self.places().any(|place| earlier.places().any(|other| other == place))
    }
}

fn is_place(place: Option<&(NodeId, String)>, dir: NodeId, name: &str) -> bool {
    place.is_some_and(|(of, called)| *of == dir && called == name)
}

fn names_of(path: &Path) -> impl DoubleEndedIterator<Item = String> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        Component::RootDir | Component::Prefix(_) | Component::CurDir | Component::ParentDir => None,
    })
}
