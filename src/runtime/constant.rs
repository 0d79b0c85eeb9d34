//! Constants that a simulated world may set otherwise.
//!
//! What is stored depends on them, so all servers of a world have the same, from its beginning to its end. In production a
//! constant is what it says: nothing sets it, and the compiler knows its value.
//!
//! Must not know: what a constant is for.

/// A constant of the stored format, named for people.
#[derive(Debug)]
pub struct Constant {
    pub name: &'static str,
    pub usual: u32,
    /// A world sets it no lower, and no higher than usual.
    pub least: u32,
}

impl Constant {
    #[inline]
    pub fn get(&self) -> u32 {
        super::platform::constant(self)
    }
}
