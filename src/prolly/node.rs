//! One node: its bytes, checked once and then read in place.
//!
//! ```text
//! 0  kind    u8   1 leaf, 2 interior
//! 1  level   u8   0 in leaves
//! 2  flags   u8   1: values are hashes of other chunks; 2: offsets take four bytes instead of two;
//!                 4: a value in or below this node has chunks attached
//! 3  zero    u8
//! 4  count   u32
//! 8  key ends   [count] u16 or u32, counted from the first key
//!    leaf:     value ends [count] likewise, then keys, then values
//!    interior: keys, then child hashes [count] 20 bytes, then numbers of entries below [count] u64,
//!              each with its top bit set when that child has flag 4
//! ```
//! Integers are little endian. A key of an interior node is the last key below that child. Offsets are wide exactly
//! when two bytes do not suffice, and flag 4 tells what the values tell too, so equal content has one form.

use bytes::Bytes;

use super::attached::{self, Attached};
use super::{KEY_BYTES_MAX, ProllyError, VALUE_BYTES_MAX, boundary};
use crate::chunk::{HASH_BYTES, Hash, Link, ReadChunks};

/// First byte of a leaf's chunk.
pub const KIND_LEAF: u8 = 1;

/// First byte of an interior node's chunk.
pub const KIND_INTERIOR: u8 = 2;

const FLAG_VALUES_ARE_HASHES: u8 = 1;
const FLAG_WIDE: u8 = 2;
const FLAG_ATTACHED: u8 = 4;
const HEADER_BYTES: usize = 8;

/// In a number of entries below a child: the child has [`FLAG_ATTACHED`].
const TOTAL_ATTACHED: u64 = 1 << 63;

/// What an entry holds beside its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Item<'a> {
    Value(&'a [u8]),
    Child(Child),
}

/// What a node knows of one below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Child {
    pub hash: Hash,
    /// How many entries lie in or below it.
    pub total: u64,
    /// Whether one of them has chunks attached.
    pub attached: bool,
}

/// A node whose structure was checked: no accessor can go out of bounds.
#[derive(Debug, Clone)]
pub(super) struct Node {
    bytes: Bytes,
    level: u8,
    flags: u8,
    count: usize,
    keys_at: usize,
    /// Values of a leaf, hashes of an interior node.
    items_at: usize,
}

impl Node {
    pub fn load<R: ReadChunks + ?Sized>(chunks: &R, hash: &Hash) -> Result<Node, ProllyError> {
        Node::parse(chunks.get(hash)?).map_err(|detail| ProllyError::Corrupt { hash: *hash, detail })
    }

    /// The child of `parent` at `index`, checked to be what the parent says of it.
    pub fn load_child<R: ReadChunks + ?Sized>(chunks: &R, parent: &Node, index: usize) -> Result<Node, ProllyError> {
        let hash = parent.child_hash(index);
        let node = Node::load(chunks, &hash)?;
        let same_kind = (node.flags ^ parent.flags) & FLAG_VALUES_ARE_HASHES == 0;
        // Whoever seeks a key below trusts that it is found where the keys here say.
        if node.level + 1 != parent.level
            || node.last_key() != Some(parent.key(index))
            || !same_kind
            || node.has_attached() != parent.child(index).attached
        {
            return Err(ProllyError::Corrupt {
                hash,
                detail: "it does not fit the node above it",
            });
        }
        Ok(node)
    }

    pub fn parse(bytes: Bytes) -> Result<Node, &'static str> {
        let header: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or("it is shorter than a header")?;
        let &[kind, level, flags, zero, count @ ..] = header;
        let count = u32::from_le_bytes(count) as usize;
        match (kind, level) {
            (KIND_LEAF, 0) => {}
            (KIND_INTERIOR, 1..) if count == 0 => return Err("an interior node without children"),
            (KIND_INTERIOR, 1..) => {}
            (KIND_LEAF | KIND_INTERIOR, _) => return Err("kind and level contradict each other"),
            _ => return Err("unknown kind"),
        }
        if flags & !(FLAG_VALUES_ARE_HASHES | FLAG_WIDE | FLAG_ATTACHED) != 0 || zero != 0 {
            return Err("unknown flags");
        }
        let offset_bytes = if flags & FLAG_WIDE == 0 { 2 } else { 4 };
        let tables = if kind == KIND_LEAF { 2 } else { 1 };
        // At most 2^32 entries times 36 bytes: no overflow in 64 bits.
        let keys_at = HEADER_BYTES + count * offset_bytes * tables;
        if bytes.len() < keys_at {
            return Err("it ends within its offsets");
        }
        let mut node = Node {
            bytes,
            level,
            flags,
            count,
            keys_at,
            items_at: keys_at,
        };
        let keys = node.check_ends(HEADER_BYTES)?;
        node.items_at = keys_at + keys;
        let items = match kind {
            KIND_LEAF => node.check_ends(HEADER_BYTES + count * offset_bytes)?,
            _ => count * (HASH_BYTES + 8),
        };
        if node.items_at + items != node.bytes.len() {
            return Err("its length is not what its offsets say");
        }
        let needs_wide = keys > usize::from(u16::MAX) || (kind == KIND_LEAF && items > usize::from(u16::MAX));
        if needs_wide != (flags & FLAG_WIDE != 0) {
            return Err("its offsets have the wrong width");
        }
        if node.values_are_hashes() && level == 0 && !(0..count).all(|i| node.value(i).len() == HASH_BYTES) {
            return Err("a value is not a hash");
        }
        Ok(node)
    }

    /// Checks that offsets ascend and gives the last one.
    fn check_ends(&self, table: usize) -> Result<usize, &'static str> {
        // Each pair is compared for itself, without a way out in between: this runs at every read of a node, and so the
        // compiler makes it a handful of vector instructions.
        let (last, ascending) = if self.flags & FLAG_WIDE == 0 {
            let ends = self.bytes[table..table + 2 * self.count].as_chunks::<2>().0;
            let pairs = ends.iter().zip(ends.iter().skip(1));
            let ascending = pairs.fold(true, |all, (a, b)| {
                all & (u16::from_le_bytes(*a) <= u16::from_le_bytes(*b))
            });
            (
                ends.last().map_or(0, |end| usize::from(u16::from_le_bytes(*end))),
                ascending,
            )
        } else {
            let ends = self.bytes[table..table + 4 * self.count].as_chunks::<4>().0;
            let pairs = ends.iter().zip(ends.iter().skip(1));
            let ascending = pairs.fold(true, |all, (a, b)| {
                all & (u32::from_le_bytes(*a) <= u32::from_le_bytes(*b))
            });
            (
                ends.last().map_or(0, |end| u32::from_le_bytes(*end) as usize),
                ascending,
            )
        };
        if ascending && last <= self.bytes.len() {
            Ok(last)
        } else {
            Err("its offsets do not ascend")
        }
    }

    pub fn is_leaf(&self) -> bool {
        self.level == 0
    }

    pub fn level(&self) -> u8 {
        self.level
    }

    pub fn values_are_hashes(&self) -> bool {
        self.flags & FLAG_VALUES_ARE_HASHES != 0
    }

    /// Whether a value in or below this node has chunks attached.
    pub fn has_attached(&self) -> bool {
        self.flags & FLAG_ATTACHED != 0
    }

    pub fn len(&self) -> usize {
        self.count
    }

    /// How many entries of the map lie in or below this node.
    pub fn total(&self) -> u64 {
        match self.is_leaf() {
            true => self.count as u64,
            // Saturating, because counts of foreign nodes may be anything.
            false => (0..self.count).fold(0u64, |sum, i| sum.saturating_add(self.child_total(i))),
        }
    }

    fn end(&self, table: usize, index: usize) -> usize {
        if self.flags & FLAG_WIDE == 0 {
            let at = table + 2 * index;
            usize::from(u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]]))
        } else {
            let at = table + 4 * index;
            let end = [
                self.bytes[at],
                self.bytes[at + 1],
                self.bytes[at + 2],
                self.bytes[at + 3],
            ];
            u32::from_le_bytes(end) as usize
        }
    }

    fn span(&self, table: usize, base: usize, index: usize) -> std::ops::Range<usize> {
        assert!(
            index < self.count,
            "entry {index} of a node with {} entries",
            self.count
        );
        let start = if index == 0 { 0 } else { self.end(table, index - 1) };
        base + start..base + self.end(table, index)
    }

    fn key_span(&self, index: usize) -> std::ops::Range<usize> {
        self.span(HEADER_BYTES, self.keys_at, index)
    }

    fn value_span(&self, index: usize) -> std::ops::Range<usize> {
        debug_assert!(self.is_leaf(), "values are in leaves");
        self.span(self.value_table(), self.items_at, index)
    }

    /// Where the ends of values begin.
    fn value_table(&self) -> usize {
        HEADER_BYTES + (self.keys_at - HEADER_BYTES) / 2
    }

    pub fn key(&self, index: usize) -> &[u8] {
        &self.bytes[self.key_span(index)]
    }

    /// All keys in order; the table of ends is read once.
    fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.spans(HEADER_BYTES, self.keys_at)
    }

    /// All values in order.
    fn values(&self) -> impl Iterator<Item = &[u8]> {
        debug_assert!(self.is_leaf(), "values are in leaves");
        self.spans(self.value_table(), self.items_at)
    }

    fn spans(&self, table: usize, base: usize) -> impl Iterator<Item = &[u8]> {
        (0..self.count).scan(base, move |start, index| {
            let end = base + self.end(table, index);
            Some(&self.bytes[std::mem::replace(start, end)..end])
        })
    }

    pub fn key_bytes(&self, index: usize) -> Bytes {
        self.bytes.slice(self.key_span(index))
    }

    pub fn last_key(&self) -> Option<&[u8]> {
        self.count.checked_sub(1).map(|last| self.key(last))
    }

    pub fn value(&self, index: usize) -> &[u8] {
        &self.bytes[self.value_span(index)]
    }

    pub fn value_bytes(&self, index: usize) -> Bytes {
        self.bytes.slice(self.value_span(index))
    }

    pub fn child_hash(&self, index: usize) -> Hash {
        debug_assert!(!self.is_leaf(), "children are in interior nodes");
        let at = self.items_at + index * HASH_BYTES;
        Hash::from_slice(&self.bytes[at..at + HASH_BYTES]).expect("a slice of a hash's length")
    }

    fn child_word(&self, index: usize) -> u64 {
        debug_assert!(!self.is_leaf(), "children are in interior nodes");
        let at = self.items_at + self.count * HASH_BYTES + index * 8;
        let mut word = [0; 8];
        word.copy_from_slice(&self.bytes[at..at + 8]);
        u64::from_le_bytes(word)
    }

    pub fn child_total(&self, index: usize) -> u64 {
        self.child_word(index) & !TOTAL_ATTACHED
    }

    pub fn child(&self, index: usize) -> Child {
        let word = self.child_word(index);
        Child {
            hash: self.child_hash(index),
            total: word & !TOTAL_ATTACHED,
            attached: word & TOTAL_ATTACHED != 0,
        }
    }

    pub fn item(&self, index: usize) -> Item<'_> {
        match self.is_leaf() {
            true => Item::Value(self.value(index)),
            false => Item::Child(self.child(index)),
        }
    }

    /// Index of the first key that is not below `key`; `len` when there is none.
    pub fn lower_bound(&self, key: &[u8]) -> usize {
        self.partition(|probe| probe < key)
    }

    /// Index of the first key for which `below` does not hold.
    pub fn partition(&self, below: impl Fn(&[u8]) -> bool) -> usize {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if below(self.key(middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

/// Collects entries in ascending order until one ends the node.
#[derive(Debug)]
pub(super) struct NodeBuilder {
    level: u8,
    values_are_hashes: bool,
    keys: Vec<u8>,
    key_ends: Vec<u32>,
    /// Values of a leaf, hashes of children.
    items: Vec<u8>,
    value_ends: Vec<u32>,
    totals: Vec<u64>,
    attached: bool,
    /// What [`boundary`] counts: bytes of all entries, headers left out.
    bytes: u64,
}

/// A finished node, as its parent refers to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ChildRef {
    pub last_key: Bytes,
    pub child: Child,
}

impl NodeBuilder {
    pub fn new(level: u8, values_are_hashes: bool) -> NodeBuilder {
        NodeBuilder {
            level,
            values_are_hashes,
            keys: Vec::new(),
            key_ends: Vec::new(),
            items: Vec::new(),
            value_ends: Vec::new(),
            totals: Vec::new(),
            attached: false,
            bytes: 0,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.key_ends.is_empty()
    }

    fn last_key(&self) -> Option<&[u8]> {
        let start = match self.key_ends.len() {
            0 => return None,
            1 => 0,
            n => self.key_ends[n - 2] as usize,
        };
        Some(&self.keys[start..])
    }

    /// Adds an entry; true when it ends the node, which must then be finished.
    pub fn push(&mut self, key: &[u8], item: Item<'_>) -> Result<bool, ProllyError> {
        if self.last_key().is_some_and(|last| last >= key) {
            return Err(ProllyError::Unsorted);
        }
        if key.len() > KEY_BYTES_MAX {
            return Err(ProllyError::KeyTooLong { bytes: key.len() });
        }
        // The sizes of offsets and totals are counted as of a narrow node: what a wide one costs more is its own.
        let entry_bytes = match item {
            Item::Value(value) => {
                assert_eq!(self.level, 0, "values are in leaves");
                if value.len() > VALUE_BYTES_MAX {
                    return Err(ProllyError::ValueTooLarge { bytes: value.len() });
                }
                if self.values_are_hashes && value.len() != HASH_BYTES {
                    return Err(ProllyError::NotAReference { bytes: value.len() });
                }
                if !self.values_are_hashes {
                    self.attached |= attached::is_attached(value).map_err(|detail| ProllyError::BadValue { detail })?;
                }
                self.items.extend_from_slice(value);
                self.value_ends.push(self.items.len() as u32);
                key.len() + value.len() + 4
            }
            Item::Child(child) => {
                assert_ne!(self.level, 0, "children are in interior nodes");
                self.items.extend_from_slice(child.hash.as_bytes());
                self.totals
                    .push((child.total & !TOTAL_ATTACHED) | (u64::from(child.attached) * TOTAL_ATTACHED));
                self.attached |= child.attached;
                key.len() + HASH_BYTES + 8 + 2
            }
        };
        self.keys.extend_from_slice(key);
        self.key_ends.push(self.keys.len() as u32);
        let before = self.bytes;
        self.bytes += entry_bytes as u64;
        // An interior node with one child would let long keys build a tower of such nodes that never ends.
        let may_end = self.level == 0 || self.key_ends.len() >= 2;
        Ok(may_end && boundary::ends_node(self.level, key, before, self.bytes))
    }

    /// The node as a chunk, and what its parent says of it; the builder is empty again. `None` when it was empty.
    pub fn finish(&mut self) -> Option<(ChildRef, Bytes)> {
        let last_key = Bytes::copy_from_slice(self.last_key()?);
        let total = match self.level {
            0 => self.key_ends.len() as u64,
            _ => self
                .totals
                .iter()
                .fold(0, |sum: u64, total| sum.saturating_add(total & !TOTAL_ATTACHED)),
        };
        let attached = self.attached;
        let bytes = self.encode();
        self.keys.clear();
        self.key_ends.clear();
        self.items.clear();
        self.value_ends.clear();
        self.totals.clear();
        self.attached = false;
        self.bytes = 0;
        let child = Child {
            hash: Hash::of(&bytes),
            total,
            attached,
        };
        Some((ChildRef { last_key, child }, bytes))
    }

    /// The one form of a map without entries.
    pub fn encode_empty(values_are_hashes: bool) -> Bytes {
        NodeBuilder::new(0, values_are_hashes).encode()
    }

    fn encode(&self) -> Bytes {
        let narrow_max = usize::from(u16::MAX);
        let wide = self.keys.len() > narrow_max || (self.level == 0 && self.items.len() > narrow_max);
        let flags = u8::from(self.values_are_hashes) * FLAG_VALUES_ARE_HASHES
            + u8::from(wide) * FLAG_WIDE
            + u8::from(self.attached) * FLAG_ATTACHED;
        let kind = if self.level == 0 { KIND_LEAF } else { KIND_INTERIOR };
        let count = self.key_ends.len();
        let offsets = self.key_ends.len() + self.value_ends.len();
        let capacity = HEADER_BYTES
            + offsets * if wide { 4 } else { 2 }
            + self.keys.len()
            + self.items.len()
            + self.totals.len() * 8;
        let mut out = Vec::with_capacity(capacity);
        out.extend_from_slice(&[kind, self.level, flags, 0]);
        out.extend_from_slice(&(count as u32).to_le_bytes());
        for end in self.key_ends.iter().chain(&self.value_ends) {
            match wide {
                true => out.extend_from_slice(&end.to_le_bytes()),
                false => out.extend_from_slice(&(*end as u16).to_le_bytes()),
            }
        }
        out.extend_from_slice(&self.keys);
        out.extend_from_slice(&self.items);
        for total in &self.totals {
            out.extend_from_slice(&total.to_le_bytes());
        }
        debug_assert_eq!(out.len(), capacity, "a cached node takes no more memory than its bytes");
        out.into()
    }
}

/// Hashes of the nodes below this one: none for a leaf, whose values are opaque.
///
/// The node is checked in full, as [`validate`] does.
///
/// # Errors
/// `Corrupt` when the bytes are no node.
pub fn children(node: &[u8]) -> Result<Vec<Hash>, ProllyError> {
    let node = validated(node)?;
    Ok(match node.is_leaf() {
        true => Vec::new(),
        false => (0..node.len()).map(|i| node.child_hash(i)).collect(),
    })
}

/// Everything this node refers to, in the order it stands in: nodes below it, the values of a leaf that holds
/// references, what is attached to values.
///
/// From a node right above the leaves it can be told which leaves refer to something: that is what makes a walk over
/// all that is alive read a hundredth of the nodes.
///
/// # Errors
/// `Corrupt` when the bytes are no node.
pub fn links(node: &[u8]) -> Result<Vec<Link>, ProllyError> {
    let node = validated(node)?;
    let mut links = Vec::new();
    for index in 0..node.len() {
        if !node.is_leaf() {
            let child = node.child(index);
            links.push(Link {
                hash: child.hash,
                leads_on: node.level > 1 || node.values_are_hashes() || child.attached,
            });
        } else if node.values_are_hashes() {
            links.extend(Hash::from_slice(node.value(index)).map(|hash| Link { hash, leads_on: true }));
        } else if node.has_attached()
            && let Ok(Some(attached)) = Attached::parse(node.value(index))
        {
            links.extend(attached.links());
        }
    }
    Ok(links)
}

/// The hashes of [`links`].
///
/// # Errors
/// `Corrupt` when the bytes are no node.
pub fn references(node: &[u8]) -> Result<Vec<Hash>, ProllyError> {
    Ok(links(node)?.into_iter().map(|link| link.hash).collect())
}

/// Checks everything about a node that can be told from its own bytes, the order of its keys too.
///
/// # Errors
/// `Corrupt` with what is wrong.
pub fn validate(node: &[u8]) -> Result<(), ProllyError> {
    validated(node).map(|_| ())
}

fn validated(bytes: &[u8]) -> Result<Node, ProllyError> {
    let corrupt = |detail| ProllyError::Corrupt {
        hash: Hash::of(bytes),
        detail,
    };
    let node = Node::parse(Bytes::copy_from_slice(bytes)).map_err(corrupt)?;
    let mut last: Option<&[u8]> = None;
    for key in node.keys() {
        if last.is_some_and(|last| last >= key) {
            return Err(corrupt("its keys do not ascend"));
        }
        if key.len() > KEY_BYTES_MAX {
            return Err(corrupt("a key is too long"));
        }
        last = Some(key);
    }
    let mut has_attached = false;
    match (node.is_leaf(), node.values_are_hashes()) {
        (true, true) => {}
        (true, false) => {
            for value in node.values() {
                has_attached |= attached::is_attached(value).map_err(corrupt)?;
            }
        }
        (false, _) => has_attached = (0..node.len()).any(|index| node.child(index).attached),
    }
    if has_attached != node.has_attached() {
        return Err(corrupt("its flags do not say what its values have attached"));
    }
    Ok(node)
}
