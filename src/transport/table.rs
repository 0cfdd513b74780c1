//! The connection table: a slab of connections with generations, and every connection id that leads to one.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};

use slab::Slab;

use super::cid::{Cid, CidBuildHasher};

/// Identifies a connection. Ids are never reused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "conn {}.{}", self.index, self.generation)
    }
}

/// Identifies a stream of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId {
    /// The connection.
    pub conn: ConnId,
    /// The QUIC stream id (RFC 9000 section 2.1).
    pub id: u64,
}

impl StreamId {
    /// Whether both sides can send on the stream.
    pub fn is_bidi(self) -> bool {
        self.id & 2 == 0
    }

    /// Whether the client opened the stream.
    pub fn is_from_client(self) -> bool {
        self.id & 1 == 0
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} stream {}", self.conn, self.id)
    }
}

/// A map by QUIC stream id. The peer cannot choose ids freely: each kind counts up, and few are open at a time.
pub(crate) type StreamMap<T> = HashMap<u64, T, BuildHasherDefault<StreamHasher>>;

#[derive(Debug, Default)]
pub(crate) struct StreamHasher(u64);

impl Hasher for StreamHasher {
    fn finish(&self) -> u64 {
        // The hash table takes its control bits from the top, which counted ids do not reach.
        self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0 << 8 | u64::from(byte);
        }
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = id;
    }
}

/// Retired ids that a connection is remembered by: as many as it may have active at a time.
const MAX_RETIRED: usize = 4;

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    /// In the order of their issue.
    cids: Vec<Cid>,
    /// Empty until the peer retires an id, which few do.
    retired: Option<Box<RetiredCids>>,
    value: T,
}

#[derive(Debug, Default)]
struct RetiredCids {
    /// The first id of all, if it is one of them, and then the latest ones.
    cids: Vec<Cid>,
    has_first: bool,
}

/// Connections by id and by connection id on the wire.
#[derive(Debug)]
pub(crate) struct Table<T> {
    slots: Slab<Slot<T>>,
    /// The index of the connection: no id outlives it.
    by_cid: HashMap<Cid, u32, CidBuildHasher>,
    retired: HashSet<Cid, CidBuildHasher>,
    next_generation: u32,
}

impl<T> Table<T> {
    pub(crate) fn new() -> Self {
        Table { slots: Slab::new(), by_cid: HashMap::default(), retired: HashSet::default(), next_generation: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Inserts a connection under its first connection id.
    pub(crate) fn insert(&mut self, cid: Cid, value: T) -> ConnId {
        let generation = self.next_generation;
        self.next_generation = generation.wrapping_add(1);
        // The default limit of a peer (RFC 9000 section 18.2).
        let mut cids = Vec::with_capacity(2);
        cids.push(cid);
        let index = self.slots.insert(Slot { generation, cids, retired: None, value }) as u32;
        let id = ConnId { index, generation };
        self.by_cid.insert(cid, index);
        id
    }

    /// Removes a connection, with all its connection ids.
    pub(crate) fn remove(&mut self, id: ConnId) -> Option<T> {
        self.get(id)?;
        let slot = self.slots.remove(id.index as usize);
        for cid in &slot.cids {
            self.by_cid.remove(cid);
        }
        for cid in slot.retired.iter().flat_map(|retired| &retired.cids) {
            self.retired.remove(cid);
        }
        Some(slot.value)
    }

    pub(crate) fn lookup(&self, cid: &Cid) -> Option<ConnId> {
        let index = *self.by_cid.get(cid)?;
        let slot = self.slots.get(index as usize)?;
        Some(ConnId { index, generation: slot.generation })
    }

    /// Inserts another connection id.
    pub(crate) fn add_cid(&mut self, id: ConnId, cid: Cid) {
        if let Some(slot) = self.slots.get_mut(id.index as usize).filter(|s| s.generation == id.generation) {
            slot.cids.push(cid);
            self.by_cid.insert(cid, id.index);
        }
    }

    /// Removes a connection id that the peer retired.
    pub(crate) fn remove_cid(&mut self, id: ConnId, cid: &Cid) {
        let Some(slot) = self.slots.get_mut(id.index as usize).filter(|s| s.generation == id.generation) else {
            return;
        };
        let retired = slot.retired.get_or_insert_default();
        let is_first = !retired.has_first && slot.cids.first() == Some(cid);
        slot.cids.retain(|c| c != cid);
        self.by_cid.remove(cid);
        if retired.cids.len() > MAX_RETIRED {
            self.retired.remove(&retired.cids.remove(usize::from(retired.has_first)));
        }
        let at = if is_first { 0 } else { retired.cids.len() };
        retired.cids.insert(at, *cid);
        retired.has_first |= is_first;
        self.retired.insert(*cid);
    }

    /// Whether a connection in the table had this id until its peer retired it. A packet to it is late, and must not be
    /// answered with a reset: some clients would take that for the end of the connection.
    pub(crate) fn is_retired(&self, cid: &Cid) -> bool {
        self.retired.contains(cid)
    }

    pub(crate) fn get(&self, id: ConnId) -> Option<&T> {
        let slot = self.slots.get(id.index as usize)?;
        (slot.generation == id.generation).then_some(&slot.value)
    }

    pub(crate) fn get_mut(&mut self, id: ConnId) -> Option<&mut T> {
        let slot = self.slots.get_mut(id.index as usize)?;
        (slot.generation == id.generation).then_some(&mut slot.value)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = ConnId> {
        self.slots.iter().map(|(index, slot)| ConnId { index: index as u32, generation: slot.generation })
    }

    /// Connection ids in the table, retired ones too; for tests of leaks.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn cid_count(&self) -> usize {
        self.by_cid.len() + self.retired.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_id_names_nothing_and_no_connection_id_outlives_its_connection() {
        let mut table = Table::new();
        let (a, b, c) = (Cid([1; 16]), Cid([2; 16]), Cid([3; 16]));
        let first = table.insert(a, "first");
        table.add_cid(first, b);
        assert_eq!(table.lookup(&b), Some(first));
        table.remove_cid(first, &a);
        assert_eq!((table.lookup(&a), table.is_retired(&a), table.is_retired(&b)), (None, true, false));
        assert_eq!(table.remove(first), Some("first"));
        assert!(!table.is_retired(&a));
        let second = table.insert(c, "second");
        assert_eq!(second.index, first.index, "the slot is used again");
        assert_eq!(table.get(first), None);
        assert_eq!(table.get_mut(first), None);
        assert_eq!(table.remove(first), None);
        table.add_cid(first, b);
        assert_eq!(table.lookup(&b), None);
        assert_eq!(table.get(second), Some(&"second"));
        assert_eq!((table.len(), table.cid_count()), (1, 1));
        assert_eq!(table.ids().collect::<Vec<_>>(), [second]);
    }

    #[test]
    fn the_latest_retired_ids_are_remembered_and_the_first_of_all() {
        let mut table = Table::new();
        let cid = |n| Cid([n; 16]);
        let id = table.insert(cid(0), ());
        for n in 0..100 {
            table.add_cid(id, cid(n + 1));
            table.remove_cid(id, &cid(n));
        }
        let remembered: Vec<u8> = (0..100).filter(|n| table.is_retired(&cid(*n))).collect();
        assert_eq!((remembered, table.cid_count()), (vec![0, 96, 97, 98, 99], 6));
        table.remove(id);
        assert_eq!(table.cid_count(), 0);
    }
}
